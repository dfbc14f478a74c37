"""A record on its way through a consumer: read, judged readable or not, ready for its handler."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from outbox.context import Cause
from outbox.delivery import Delivery
from outbox.envelope import Envelope, key_text, read_envelope, record_id
from outbox.errors import MalformedRecord, NonRecoverable
from outbox.events import Event
from outbox.inbox import Claim, Key
from outbox.kafka import Record
from outbox.models import DeadLetter, Outcome, WaitingEvent
from outbox.registry import Consumer, Route
from outbox.structured import in_binary_mode


@dataclass(slots=True)  # not frozen, as Record
class Item:
    """A record with what could be read of it.

    number       the place within the key, if the record has a key and says
    fault        why it can never be processed: no CloudEvent, or data against the contract; else None
    route        the handler of its type; None when this consumer handles no such type
    given_up     an operator has discarded it: it is passed without an effect
    may_be_late  an operator has it processed also when later events of its key have been
    """

    record: Record
    inbox_id: UUID
    key: Key | None
    number: int | None
    envelope: Envelope | None
    route: Route | None
    event: Event | None
    fault: NonRecoverable | None
    received_at: datetime
    given_up: bool = False
    may_be_late: bool = False

    @property
    def type(self) -> str:
        """The event's type, or nothing."""
        return "" if self.envelope is None else self.envelope.type

    @property
    def occurred_at(self) -> datetime:
        """When the fact happened; for a record that does not say, when Kafka got it, or when it was read."""
        if self.envelope is not None:
            return self.envelope.occurred_at
        return self.record.timestamp or self.received_at

    @property
    def cause(self) -> Cause:
        """What is said about it in the log, as far as it could be read."""
        key = None if self.key is None else self.key[1]
        if self.envelope is None:
            return Cause(causation_id=self.inbox_id, key=key)
        return Cause(self.envelope.correlation_id, self.inbox_id, self.envelope.traceparent, key)

    def claim(self, outcome: Outcome) -> Claim:
        """Its inbox row."""
        record = self.record
        return Claim(
            event_id=self.inbox_id,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=None if self.key is None else self.key[1],
            number=self.number,
            type=self.type,
            outcome=outcome.value,
            occurred_at=self.occurred_at,
            received_at=self.received_at,
        )

    def delivery(self, *, generation: int) -> Delivery[Any]:
        """What its handler is given."""
        assert self.envelope is not None  # noqa: S101  (it has a route)
        assert self.event is not None  # noqa: S101
        return Delivery(
            event=self.event,
            id=self.inbox_id,
            type=self.envelope.type,
            source=self.envelope.source,
            topic=self.record.topic,
            partition=self.record.partition,
            offset=self.record.offset,
            key=None if self.key is None else self.key[1],
            number=self.number,
            occurred_at=self.envelope.occurred_at,
            correlation_id=self.envelope.correlation_id,
            causation_id=self.envelope.causation_id,
            traceparent=self.envelope.traceparent,
            generation=generation,
        )

    def copy(self) -> dict[str, Any]:
        """The record whole, as the columns that a dead letter and a waiting event share."""
        return {
            "event_id": self.inbox_id,
            "topic": self.record.topic,
            "partition": self.record.partition,
            "offset": self.record.offset,
            "number": self.number,
            "type": self.type,
            "headers": encode_headers(self.record.headers),
            "raw_key": self.record.key,
            "payload": self.record.value,
            "timestamp": self.record.timestamp,
        }


def read_item(record: Record, *, consumer: Consumer, now: datetime) -> Item:
    """Read what can be read; what cannot be is a fault, never an exception."""
    name = key_text(record.key)
    key = None if not name else (record.topic, name)
    envelope, route, event, fault = None, None, None, None
    try:
        plain = in_binary_mode(record)
        envelope = read_envelope(plain, now=now)
        route = consumer.routes.get(envelope.type)
        if route is not None:
            event = route.event.from_json(plain.value or b"")
    except NonRecoverable as error:
        fault = error
    except Exception as error:  # noqa: BLE001  (a contract's own code may raise anything; the record is kept)
        fault = MalformedRecord(f"{type(error).__name__}: {error}")
        fault.__cause__ = error
    inbox_id = record_id(record) if envelope is None else envelope.inbox_id
    number = None if envelope is None or key is None else envelope.number
    return Item(record, inbox_id, key, number, envelope, route, event, fault, now)


def stored_record(stored: DeadLetter | WaitingEvent) -> Record:
    """The record as it was read, from its copy."""
    return Record(
        topic=stored.topic,
        partition=stored.partition,
        offset=stored.offset,
        key=None if stored.raw_key is None else bytes(stored.raw_key),
        value=None if stored.payload is None else bytes(stored.payload),
        headers=decode_headers(stored.headers),
        timestamp=stored.timestamp,
    )


def encode_headers(headers: list[tuple[str, bytes | None]]) -> list[list[str | None]]:
    """Headers as JSON can hold them: values in base64, since they are bytes."""
    return [[name, None if value is None else base64.b64encode(value).decode()] for name, value in headers]


def decode_headers(stored: list[list[Any]]) -> list[tuple[str, bytes | None]]:
    """The reverse of encode_headers()."""
    return [(name, None if value is None else base64.b64decode(value)) for name, value in stored]
