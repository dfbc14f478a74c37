"""Volumes as JSON and as CSV: thousands of rows, so without a look at every field."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import msgspec
from rest_framework.renderers import BaseRenderer, JSONRenderer


class VolumeRow(msgspec.Struct, frozen=True):
    """One row of an answer, ready to be written."""

    slot_start: str
    currency: str
    status: str
    count: int
    amount: str


class RowsRenderer(JSONRenderer):
    """A list of VolumeRows as JSON objects; anything else, as an error, as usual."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        """The body."""
        if isinstance(data, list):
            return msgspec.json.encode(data)
        body: bytes = super().render(data, accepted_media_type, renderer_context)
        return body


class CsvRenderer(BaseRenderer):
    """A list of VolumeRows as CSV (RFC 4180) with a header; anything else, as an error, as JSON."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The body."""
        if not isinstance(data, list):
            body: bytes = JSONRenderer().render(data, None, renderer_context)
            return body
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(VolumeRow.__struct_fields__)
        writer.writerows(msgspec.structs.astuple(row) for row in data)
        return text.getvalue().encode()
