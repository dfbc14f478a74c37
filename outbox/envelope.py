"""Events on the wire: CloudEvents 1.0, Kafka binding, binary mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from outbox.context import is_traceparent
from outbox.errors import MalformedRecord
from outbox.ids import derived_id, time_of
from outbox.kafka import Header, Record

_SPECVERSION = ("ce_specversion", b"1.0")
# In bytes of UTF-8: with consumer and topic it must fit the 2,704 bytes of an index entry.
LONGEST_KEY = 1_024
LONGEST_HEADER = 1_024
# An id or time further ahead than this is a broken clock; partitions of the inbox exist for longer.
FUTURE_LIMIT = timedelta(days=7)

TEXT = re.compile(r"[^\x00-\x1f\x7f]+")
_READ = {
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_sequence",
    "ce_correlationid",
    "ce_causationid",
    "ce_traceparent",
}
_SEQUENCE = re.compile(r"[0-9]{1,19}")


def binary_headers(
    id: bytes,  # noqa: A002  (the attribute's name in CloudEvents)
    source: bytes,
    type: bytes,  # noqa: A002
    occurred_at: bytes,
    key: bytes | None,
    number: int | None,
    correlation_id: bytes,
    causation_id: bytes | None,
    traceparent: bytes | None,
    content_type: bytes,
) -> list[Header]:
    """The Kafka headers of one event, in a fixed order, from what goes into them as it is."""
    headers: list[Header] = [
        _SPECVERSION,
        ("ce_id", id),
        ("ce_source", source),
        ("ce_type", type),
        ("ce_time", occurred_at),
    ]
    if key is not None:
        headers += (("ce_subject", key), ("ce_partitionkey", key))
    headers.append(("ce_correlationid", correlation_id))
    if causation_id is not None:
        headers.append(("ce_causationid", causation_id))
    if number is not None:
        headers.append(("ce_sequence", b"%019d" % number))
    if traceparent is not None:
        headers.append(("ce_traceparent", traceparent))
    headers.append(("content-type", content_type))
    return headers


def cloudevent_headers(
    *,
    id: UUID,  # noqa: A002  (the attribute's name in CloudEvents)
    source: str,
    type: str,  # noqa: A002
    occurred_at: datetime,
    key: str | None,
    number: int | None,
    correlation_id: UUID,
    causation_id: UUID | None,
    traceparent: str | None,
    content_type: str,
) -> list[Header]:
    """The Kafka headers of one event, in a fixed order."""
    return binary_headers(
        str(id).encode(),
        source.encode(),
        type.encode(),
        _time_text(occurred_at).encode(),
        None if key is None else key.encode(),
        number,
        str(correlation_id).encode(),
        None if causation_id is None else str(causation_id).encode(),
        None if traceparent is None else traceparent.encode(),
        content_type.encode(),
    )


class Published(Protocol):
    """An outbox row, as Django reads it."""

    @property
    def id(self) -> UUID: ...
    @property
    def source(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def key(self) -> str | None: ...
    @property
    def number(self) -> int | None: ...
    @property
    def correlation_id(self) -> UUID: ...
    @property
    def causation_id(self) -> UUID | None: ...
    @property
    def traceparent(self) -> str | None: ...
    @property
    def content_type(self) -> str: ...


def headers_of(event: Published) -> list[Header]:
    """The headers with which the relay sends an outbox row."""
    return cloudevent_headers(
        id=event.id,
        source=event.source,
        type=event.type,
        occurred_at=event.occurred_at,
        key=event.key,
        number=event.number,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        traceparent=event.traceparent,
        content_type=event.content_type,
    )


def _time_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Envelope(NamedTuple):
    """A record's context, read and checked; the data is read later, by the contract of its type.

    inbox_id  what the inbox knows the event by: the CloudEvents id when that is a UUIDv7, else derived from
              source and id, so that it is the same at every delivery
    """

    inbox_id: UUID
    type: str
    source: str
    occurred_at: datetime
    number: int | None
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None


def record_id(record: Record) -> UUID:
    """The inbox id of a record that has no usable one of its own: its place in Kafka, before all time."""
    return derived_id(record.topic, str(record.partition), str(record.offset))


def key_text(raw: bytes | None) -> str | None:
    """The key as text that PostgreSQL can hold and index; the same for the same bytes.

    Bytes that are no UTF-8, and NUL, are escaped; a key too long for an index is cut, its hash beside it.
    """
    if raw is None:
        return None
    text = raw.decode("utf-8", errors="backslashreplace").replace("\x00", "\\x00")
    if len(text.encode()) <= LONGEST_KEY:
        return text
    return f"{text[:100]}…{hashlib.sha256(raw).hexdigest()}"


def is_text(value: str) -> bool:
    """Whether a CloudEvents attribute may hold it: not empty, not too long, no control character."""
    return TEXT.fullmatch(value) is not None and len(value) <= LONGEST_HEADER


def read_envelope(record: Record, *, now: datetime) -> Envelope:
    """Read a record's CloudEvents headers. Raises MalformedRecord, naming the header and its fault."""
    headers = _text_headers(record)
    if not headers:
        raise MalformedRecord("The record has no headers: it is not a CloudEvent in binary mode.")
    version = _required(headers, "ce_specversion")
    if version != "1.0":
        raise MalformedRecord(f"ce_specversion is {version[:20]!r}; 1.0 is read here.")
    source, event_id = _required(headers, "ce_source"), _required(headers, "ce_id")
    stated = _time(headers)
    occurred_at = stated or record.timestamp
    if occurred_at is None:
        raise MalformedRecord("The record has neither a ce_time header nor a timestamp.")
    inbox_id = _inbox_id(source, event_id, stated)
    if max(_time_of(inbox_id), occurred_at) > now + FUTURE_LIMIT:
        raise MalformedRecord(f"The event's time, {occurred_at:%Y-%m-%d}, or its id lies in the future.")
    traceparent = headers.get("ce_traceparent", "")
    return Envelope(
        inbox_id=inbox_id,
        type=_required(headers, "ce_type"),
        source=source,
        occurred_at=occurred_at,
        number=_number(headers),
        correlation_id=_uuid(headers, "ce_correlationid") or inbox_id,
        causation_id=_uuid(headers, "ce_causationid"),
        traceparent=traceparent if is_traceparent(traceparent) else None,
    )


def happened_at(record: Record) -> datetime | None:
    """When the fact happened, or when Kafka got it; None when neither can be read."""
    try:
        return _time(_text_headers(record)) or record.timestamp
    except MalformedRecord:
        return record.timestamp


def _text_headers(record: Record) -> dict[str, str]:
    """The headers that are read here; whatever else a foreign event carries is its own affair."""
    read = [(name, value) for name, value in record.headers if name in _READ and value is not None]
    try:
        texts = [value.decode() for _, value in read]
        if all(texts) and is_text("".join(texts)):  # nearly always; one by one takes longer
            return dict(zip([name for name, _ in read], texts, strict=True))
    except UnicodeDecodeError:
        pass  # the one that is to blame is named below
    return {name: _text(name, value) for name, value in read}


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise MalformedRecord(f"{name} is not UTF-8.") from None
    if not is_text(text):
        raise MalformedRecord(
            f"{name} is empty, longer than {LONGEST_HEADER:,} characters, or holds a control character."
        )
    return text


def _required(headers: dict[str, str], name: str) -> str:
    try:
        return headers[name]
    except KeyError:
        raise MalformedRecord(f"The record has no {name} header.") from None


def _inbox_id(source: str, event_id: str, stated: datetime | None) -> UUID:
    """Only what the event itself says goes in: Kafka's timestamp differs when it is sent twice."""
    try:
        own = UUID(event_id)
    except ValueError:
        return derived_id(source, event_id, at=stated)
    return own if own.version == 7 else derived_id(source, event_id, at=stated)


def _time_of(inbox_id: UUID) -> datetime:
    try:
        return time_of(inbox_id)
    except OverflowError:
        raise MalformedRecord("The time in ce_id lies beyond the year 9999.") from None


def _time(headers: dict[str, str]) -> datetime | None:
    text = headers.get("ce_time")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise MalformedRecord(f"ce_time is {text[:40]!r}, without a UTC offset.")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedRecord(f"ce_time is {text[:40]!r}, not an RFC 3339 time.") from None


def _number(headers: dict[str, str]) -> int | None:
    text = headers.get("ce_sequence")
    if text is None:
        return None
    if not _SEQUENCE.fullmatch(text) or not 0 < int(text) < 2**63:
        raise MalformedRecord(f"ce_sequence is {text[:40]!r}, not a number from 1 of up to 19 digits.")
    return int(text)


def sequence_of(headers: list[Header]) -> int | None:
    """The number that a record claims within its key, also one that is otherwise unreadable."""
    text = dict(headers).get("ce_sequence") or b""
    try:
        return _number({"ce_sequence": text.decode()})
    except (UnicodeDecodeError, MalformedRecord):
        return None


def _uuid(headers: dict[str, str], name: str) -> UUID | None:
    try:
        return UUID(headers[name]) if name in headers else None
    except ValueError:
        return None  # another project's correlation id; ours are UUIDs
