"""CloudEvents in structured mode, the event as one JSON object in the value: read like those in binary mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

import base64
import binascii
from dataclasses import replace

import msgspec

from outbox.errors import MalformedRecord
from outbox.kafka import Record

_KIND = "content-type"
_STRUCTURED = "application/cloudevents"
_JSON = "application/cloudevents+json"


def in_binary_mode(record: Record) -> Record:
    """The record with its attributes as headers and its data as the value; one in binary mode as it is.

    Raises MalformedRecord for what says that it is an event in structured mode, and is none that can be read.
    """
    for name, value in record.headers:
        if len(name) == len(_KIND) and name.lower() == _KIND:  # few names are so long
            kind = (value or b"").decode(errors="replace").partition(";")[0].strip().lower()
            return _unfolded(record, kind) if kind.startswith(_STRUCTURED) else record
    return record


def _unfolded(record: Record, kind: str) -> Record:
    if kind != _JSON:
        raise MalformedRecord(f"The content type is {kind[:60]!r}; of structured events, JSON is read here.")
    try:
        members = msgspec.json.decode(record.value or b"", type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise MalformedRecord(f"The value is no CloudEvent in JSON: {error}") from error
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    headers = [(f"ce_{name}", _text(name, raw)) for name, raw in members.items()]
    return replace(
        record,
        headers=[(name, value) for name, value in headers if value is not None],
        value=_decoded(encoded) if data is None and encoded is not None else bytes(data or b""),
    )


def _text(name: str, raw: msgspec.Raw) -> bytes | None:
    """An attribute as a header holds it; null is as good as none."""
    value = msgspec.json.decode(raw)
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower().encode()
    if isinstance(value, str | int):
        return str(value).encode(errors="backslashreplace")
    raise MalformedRecord(f"The attribute {name[:40]!r} is no string, number or boolean.")


def _decoded(raw: msgspec.Raw) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(raw, type=str), validate=True)
    except (msgspec.ValidationError, binascii.Error):
        raise MalformedRecord("data_base64 is not Base64.") from None
