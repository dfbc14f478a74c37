"""UUIDv7: an id that is also a time. Bounds for partitions and ranges, and stable ids for foreign records."""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def new_id(at: datetime) -> UUID:
    """A fresh UUIDv7 of this moment (RFC 9562 §5.7), millisecond precision."""
    microseconds = (at - _EPOCH) // timedelta(microseconds=1)
    return UUID(int=uuid_utils.uuid7(nanoseconds=microseconds * 1_000).int)


def lowest_id(at: datetime) -> UUID:
    """The smallest id of this millisecond: `id >= lowest_id(t)` selects what is not older than t."""
    return UUID(int=((at - _EPOCH) // _MILLISECOND) << 80)


def time_of(event_id: UUID) -> datetime:
    """The millisecond at which a UUIDv7 was made."""
    return _EPOCH + (event_id.int >> 80) * _MILLISECOND


def derived_id(*parts: str, at: datetime | None = None) -> UUID:
    """A UUIDv8 that is always the same for the same parts, placed at `at`, or before all time.

    For records whose own id is no UUIDv7: the inbox is partitioned by the id's time.
    """
    digest = hashlib.sha256("\x00".join(parts).encode(errors="surrogatepass")).digest()
    milliseconds = 0 if at is None else max((at - _EPOCH) // _MILLISECOND, 0)
    value = (milliseconds << 80) | (int.from_bytes(digest[:10], "big"))
    value = value & ~(0xF << 76) | (0x8 << 76)
    value = value & ~(0b11 << 62) | (0b10 << 62)
    return UUID(int=value)
