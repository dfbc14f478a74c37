"""publish(): the one way into the outbox."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections

from outbox import buffer, clock, metrics, wake
from outbox.config import config
from outbox.context import current_cause, is_building
from outbox.envelope import FUTURE_LIMIT, LONGEST_KEY, is_text
from outbox.errors import (
    ContractViolation,
    EventTooLarge,
    PublishOutsideTransaction,
    PublishWhileBuilding,
    UnknownTopic,
)
from outbox.events import Event
from outbox.ids import new_id
from outbox.keys import hash_of, shard_of
from outbox.partitions import partition_needed
from outbox.tracing import created

# What the CloudEvents headers of one record take at most, besides the type and the key.
HEADERS_SIZE = 800


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An event ready to be written: everything but the number and position, which the database gives."""

    id: UUID
    shard: int
    topic: str
    key: str | None
    hash: int | None
    partition: int | None
    type: str
    source: str
    occurred_at: datetime
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None
    content_type: str
    payload: bytes
    owner: str | None


def publish(
    event: Event, *, at: datetime | None = None, owner: str | None = None, using: str = DEFAULT_DB_ALIAS
) -> UUID:
    """Write an event into the outbox, in the transaction under way, and return its id.

    The event reaches Kafka if and only if that transaction commits; events of one topic and key reach it
    in the order in which they were published. Inside a consumer's handler and inside `outbox.atomic()`
    events are kept until just before the commit and written together, sorted, so that two such
    transactions cannot deadlock on their keys.

    at     when the fact happened; the database's clock when left out
    owner  for whom the API may show the event

    Raises PublishOutsideTransaction, ContractViolation, EventTooLarge, UnknownTopic, NoPartition; and
    PublishWhileBuilding in a handler that rebuilds its projection.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        raise PublishOutsideTransaction
    if is_building():
        raise PublishWhileBuilding(f"{event.type} was published in rebuilding a projection, which may not.")
    row = _row(event, at=at, owner=owner, using=using)
    pending = buffer.pending(using)
    if pending is None:
        write([row], using=using)
        connection.on_commit(lambda: committed(row, using=using), robust=True)
    else:
        pending.add(row)
    return row.id


def committed(row: OutboxRow, *, using: str) -> None:
    """An event is there for good: wake the relays, and count it."""
    wake.wake(using=using)
    metrics.published(row.topic, row.type)


def _row(event: Event, *, at: datetime | None, owner: str | None, using: str) -> OutboxRow:
    payload, key, now = event.to_json(), event.key(), clock.now(using=using)
    _check_key(event, key)
    occurred_at = now if at is None else _checked_time(event, at, now=now)
    size = len(payload) + len(key.encode()) * 3 + len(event.type) + HEADERS_SIZE
    if size > config().max_event_bytes:
        raise EventTooLarge(
            f"{event.type} {key} takes about {size:,} bytes, and {config().max_event_bytes:,} are accepted: "
            "carry a reference instead of the data."
        )
    event_id, cause = new_id(now), current_cause()
    traceparent = created(event_id, event.type, event.topic.name) or cause.traceparent
    return OutboxRow(
        id=event_id,
        shard=shard_of(key),
        topic=event.topic.name,
        key=key,
        hash=hash_of(key),
        partition=None,
        type=event.type,
        source=f"{config().source_of(using)}/{event.type.partition('.')[0]}",
        occurred_at=occurred_at,
        correlation_id=cause.correlation_id or event_id,
        causation_id=cause.causation_id,
        traceparent=traceparent,
        content_type="application/json",
        payload=payload,
        owner=owner,
    )


def _check_key(event: Event, key: str) -> None:
    if not is_text(key) or len(key.encode(errors="replace")) > LONGEST_KEY:
        raise ContractViolation(
            f"{event.type} has the key {key[:80]!r}: a key is 1 to {LONGEST_KEY} bytes of UTF-8 without"
            " control characters."
        )
    if event.topic not in config().declared_topics():
        raise UnknownTopic(
            f"{event.type} goes to the topic {event.topic.name!r}, which OUTBOX['TOPICS'] does not name."
        )


def _checked_time(event: Event, at: datetime, *, now: datetime) -> datetime:
    """`at` in UTC, when consumers will accept it."""
    if at.tzinfo is None:
        raise ContractViolation(f"{event.type}: `at` must be an aware datetime, not {at!r}.")
    try:
        moment = at.astimezone(UTC)
    except OverflowError:
        raise ContractViolation(f"{event.type}: `at` is {at!r}, outside the years 1 to 9999.") from None
    if moment > now + FUTURE_LIMIT:
        raise ContractViolation(f"{event.type}: `at` is {at!r}: a fact does not lie in the future.")
    return moment


# One round trip numbers the event under its key's lock and inserts it.
_INSERT_ONE = """
WITH counted AS (
    INSERT INTO outbox_key_counter AS counter (topic, key, number) VALUES (%(topic)s, %(key)s, 1)
    ON CONFLICT (topic, key) DO UPDATE SET number = counter.number + 1
    RETURNING number
)
INSERT INTO outbox_event (id, shard, topic, key, hash, number, partition, type, source, occurred_at,
    correlation_id, causation_id, traceparent, content_type, payload, owner)
SELECT %(id)s, %(shard)s, %(topic)s, %(key)s, %(hash)s, number, %(partition)s, %(type)s, %(source)s,
    %(occurred_at)s, %(correlation_id)s, %(causation_id)s, %(traceparent)s, %(content_type)s, %(payload)s,
    %(owner)s
FROM counted"""
# One round trip numbers the events under their keys' locks and inserts them. The counters are taken in
# sorted order, whatever the order of publishing, and before any position is drawn: LEFT JOIN reads all
# of `counted` first, and a sorted subquery is never merged into the INSERT that draws the positions.
_INSERT = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(
        %s::uuid[], %s::smallint[], %s::text[], %s::text[], %s::integer[], %s::integer[], %s::text[],
        %s::text[], %s::timestamptz[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::text[]
    ) WITH ORDINALITY AS event (id, shard, topic, key, hash, partition, type, source, occurred_at,
        correlation_id, causation_id, traceparent, content_type, payload, owner, place)
), counted AS (
    INSERT INTO outbox_key_counter AS counter (topic, key, number)
    SELECT topic, key, count(*) FROM given WHERE key IS NOT NULL GROUP BY topic, key ORDER BY topic, key
    ON CONFLICT (topic, key) DO UPDATE SET number = counter.number + EXCLUDED.number
    RETURNING topic, key, number
)
INSERT INTO outbox_event (id, shard, topic, key, hash, number, partition, type, source, occurred_at,
    correlation_id, causation_id, traceparent, content_type, payload, owner)
SELECT id, shard, topic, key, hash,
    number - count(*) OVER (PARTITION BY topic, key)
        + row_number() OVER (PARTITION BY topic, key ORDER BY place),
    partition, type, source, occurred_at,
    correlation_id, causation_id, traceparent, content_type, payload, owner
FROM given LEFT JOIN counted USING (topic, key)
ORDER BY place
"""


def write(rows: list[OutboxRow], *, using: str) -> None:
    """Number and insert these events, in this order. Raises NoPartition."""
    fields = OutboxRow.__slots__
    with partition_needed(), connections[using].cursor() as cursor:
        if len(rows) == 1 and rows[0].key is not None:
            cursor.execute(_INSERT_ONE, {field: getattr(rows[0], field) for field in fields})
        else:
            cursor.execute(_INSERT, [[getattr(row, field) for row in rows] for field in fields])
