"""Reading request bodies."""

import io
from collections.abc import Mapping
from http import HTTPStatus
from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

LARGEST_BODY = 256 * 1024


class BodyTooLarge(APIException):
    """The body is larger than any command needs to be."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = f"A body may have {LARGEST_BODY:,} bytes."
    default_code = "body_too_large"


class BoundedJSONParser(JSONParser):
    """JSON of up to LARGEST_BODY bytes, of any shape: a body nested a thousand deep is refused, not fatal."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The Python value. Raises ParseError, BodyTooLarge."""
        body = stream.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise BodyTooLarge()
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError:
            raise ParseError("JSON parse error - it is nested too deeply.") from None
