"""Events as a person reads them: always text, never markup, and never more than a browser can take."""

from collections.abc import Iterable
from contextlib import suppress

import msgspec

MOST_TEXT = 100_000


def payload_text(payload: bytes | memoryview | None, content_type: str = "application/json") -> str:
    """Data as text: JSON indented with its values and their order as they are, all else as UTF-8.

    What is longer than MOST_TEXT is cut, and says so.
    """
    data = bytes(payload or b"")
    if content_type == "application/json":
        with suppress(msgspec.DecodeError, RecursionError):
            data = msgspec.json.format(data, indent=2)
    text = data.decode(errors="replace")
    if len(text) > MOST_TEXT:
        return f"{text[:MOST_TEXT]}\n… {len(text) - MOST_TEXT:,} more characters are not shown"
    return text


def headers_text(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, str]]:
    """Names and values as text."""
    return [(name, (value or b"").decode(errors="replace")) for name, value in headers]
