"""Moments as text: always with their offset from UTC, for a time without one is a guess."""

import re
from datetime import UTC, datetime

# RFC 3339, without what Python also reads: weeks, ordinal days, times without an offset.
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def parse_moment(text: str) -> datetime:
    """An aware time in UTC. Raises ValueError for what is no time, or has no offset from UTC."""
    if not _MOMENT.fullmatch(text.upper()):
        raise ValueError(text)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None
