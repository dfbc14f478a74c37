"""Events, and what became of them, written as the engine writes them; with any text in any place."""

from datetime import UTC, datetime
from uuid import UUID

from django.db import connection

from outbox.ids import new_id
from outbox.keys import hash_of, shard_of
from outbox.models import DeadLetter, OutboxEvent, Refusal, WaitingEvent
from outbox.publishing import OutboxRow, write


def write_event(
    *,
    at: datetime | None = None,
    happened: datetime | None = None,
    event_id: UUID | None = None,
    key: str | None = "k-1",
    type: str = "payments.PaymentRequested.v1",  # noqa: A002
    topic: str = "payments",
    source: str = "/eventsite/payments",
    owner: str | None = None,
    correlation_id: UUID | None = None,
    causation_id: UUID | None = None,
    payload: bytes = b"{}",
    content_type: str = "application/json",
    traceparent: str | None = None,
) -> UUID:
    """Write one and return its id; a test's time may be in the past."""
    at = at or datetime.now(UTC)
    event_id = event_id or new_id(at)
    row = OutboxRow(
        id=event_id,
        shard=shard_of(key or "none"),
        topic=topic,
        key=key,
        hash=None if key is None else hash_of(key),
        partition=None,
        type=type,
        source=source,
        occurred_at=happened or at,
        correlation_id=correlation_id or event_id,
        causation_id=causation_id,
        traceparent=traceparent,
        content_type=content_type,
        payload=payload,
        owner=owner,
    )
    write([row], using="default")
    return event_id


def publish_event(event_id: UUID, *, at: datetime | None = None, partition: int = 0, offset: int = 0) -> None:
    """As the relay writes down where Kafka put it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_publication VALUES (%s, %s, %s, %s)",
            [event_id, partition, offset, at or datetime.now(UTC)],
        )


def receive(
    event_id: UUID,
    consumer: str,
    outcome: str = "processed",
    *,
    generation: int = 1,
    received: datetime | None = None,
    at: datetime | None = None,
) -> None:
    """What a consumer made of it, with the copy of what it has set aside."""
    event = OutboxEvent.objects.get(id=event_id)
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", key,'
            " number, type, outcome, occurred_at, received_at, processed_at)"
            " VALUES (%s, %s, %s, %s, 0, 0, %s, %s, %s, %s, %s, %s, %s)",
            [
                event_id,
                consumer,
                generation,
                event.topic,
                event.key,
                event.number,
                event.type,
                outcome,
                event.occurred_at,
                received,
                at or datetime.now(UTC),
            ],
        )
    copy = {
        "consumer": consumer,
        "generation": generation,
        "event_id": event_id,
        "topic": event.topic,
        "key": event.key,
        "number": event.number,
        "partition": 0,
        "offset": 0,
        "type": event.type,
        "headers": [],
        "payload": event.payload,
    }
    if outcome == "dead":
        DeadLetter.objects.create(
            **copy,
            cause="ValueError",
            error="it does not fit",
            traceback="",
            fingerprint="f",
            attempts=1,
            died_at=datetime.now(UTC),
        )
    elif outcome == "parked":
        WaitingEvent.objects.create(**copy, received_at=received or datetime.now(UTC))


def refuse(event_id: UUID, *, cause: str = "MSG_SIZE_TOO_LARGE") -> None:
    """As the relay holds what Kafka did not take."""
    event = OutboxEvent.objects.get(id=event_id)
    Refusal.objects.create(
        event_id=event_id,
        position=event.position,
        topic=event.topic,
        key=event.key,
        cause=cause,
        refused_at=datetime.now(UTC),
    )


def relay_all() -> None:
    """Move the relays' cursors past all that is there: what is written next waits."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_shard SET position = (SELECT max(position) FROM outbox_event)")
