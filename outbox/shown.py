"""Events as a person reads them: always text, never markup, and never more than a browser can take."""

from collections.abc import Iterable
from contextlib import suppress

import msgspec

MOST_TEXT = 100_000


def payload_text(payload: bytes | memoryview | None, content_type: str = "application/json") -> str:
    """Data as text: JSON indented with its values and their order as they are, all else as UTF-8.

    What is longer than MOST_TEXT is cut, and says so.
    """
    text = _indented(bytes(payload or b""), content_type)
    if len(text) > MOST_TEXT:
        return f"{text[:MOST_TEXT]}\n… {len(text) - MOST_TEXT:,} more characters are not shown"
    return text


def whole_text(payload: bytes | memoryview | None) -> str:
    """All of it, to be edited or compared. JSON that indenting would make too long stays as it is."""
    data = bytes(payload or b"")
    text = _indented(data, "application/json")
    return text if len(text) <= MOST_TEXT else data.decode(errors="replace")


def can_be_edited(payload: bytes | memoryview | None) -> bool:
    """Whether a form can take it."""
    return len(bytes(payload or b"")) <= MOST_TEXT


def _indented(data: bytes, content_type: str) -> str:
    if content_type == "application/json":
        with suppress(msgspec.DecodeError, RecursionError):
            data = msgspec.json.format(data, indent=2)
    return data.decode(errors="replace")


def headers_text(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, str]]:
    """Names and values as text."""
    return [(name, (value or b"").decode(errors="replace")) for name, value in headers]
