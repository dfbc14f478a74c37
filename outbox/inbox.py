"""The consumer's tables in set-wise SQL: what is known, locked, claimed and parked.

All of it runs in the consumer's transaction. Rows are locked and inserted in sorted order, so that two
instances whose batches overlap wait for each other instead of deadlocking.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections

from outbox import clock
from outbox.beginnings import whole_topics
from outbox.errors import OverlappingConsumer
from outbox.fence import ended
from outbox.ids import new_id
from outbox.inserting import array
from outbox.models import Outcome, ParkCause
from outbox.partitions import partition_needed
from outbox.sessions import SAME_BATCH, is_same_batch

Key = tuple[str, str]  # topic, key

_CLAIM = (
    'INSERT INTO outbox_inbox (event_id, topic, partition, "offset", key, number, type, outcome,'
    " occurred_at, received_at, consumer, generation)"
    " SELECT *, %s, %s FROM unnest(%s::uuid[], %s::text[], %s::integer[], %s::bigint[],"
    " %s::text[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])"
    " AS claim (event_id)"
    f" WHERE {SAME_BATCH} ORDER BY event_id ON CONFLICT DO NOTHING"
)


class Claim(NamedTuple):
    """One inbox row to be: the event, where it was read, and what became of it."""

    event_id: UUID
    topic: str
    partition: int
    offset: int
    key: str | None
    number: int | None
    type: str
    outcome: str
    occurred_at: datetime
    received_at: datetime


class Inbox:
    """The inbox of one consumer's generation.

    inherits  generations that it replaced, whose rows have not been handed over to it yet: what only they
              know is of records that Kafka no longer had when it was built
    """

    def __init__(self, *, consumer: str, generation: int, using: str, inherits: tuple[int, ...] = ()) -> None:
        self.consumer = consumer
        self.generation = generation
        self._speaking = [generation, *inherits]
        self._using = using
        self._who: list[Any] = [consumer, generation]

    @cached_property
    def whole_topics(self) -> set[str]:
        """The topics that this generation has read from their first record on."""
        return whole_topics(consumer=self.consumer, generation=self.generation, using=self._using)

    def lock_keys(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Lock the keys' progress rows until the commit; return the number each has come to.

        A key never seen has no row to lock: the claim of its event keeps two owners apart.
        """
        topics, names = _columns(sorted(keys))
        with connections[self._using].cursor() as sql:
            sql.execute(
                "SELECT topic, key, number FROM outbox_key_progress WHERE consumer = %s AND generation = %s"
                " AND (topic, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
                " ORDER BY topic, key FOR UPDATE",
                [*self._who, topics, names],
            )
            return {(topic, key): number for topic, key, number in sql.fetchall()}

    def parked(self, keys: Iterable[Key], *, alone: bool = False) -> dict[Key, ParkCause]:
        """Which of these keys are parked, and why. They stay parked until the commit.

        alone  nobody else may append to what waits behind them meanwhile
        """
        topics, names = _columns(sorted(keys))
        with connections[self._using].cursor() as sql:
            sql.execute(
                "SELECT topic, key, cause FROM outbox_parked_key WHERE consumer = %s AND generation = %s"
                " AND (topic, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
                " ORDER BY topic, key" + (" FOR UPDATE" if alone else " FOR SHARE"),
                [*self._who, topics, names],
            )
            return {(topic, key): ParkCause(cause) for topic, key, cause in sql.fetchall()}

    def known(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Those of the events that this consumer has already moved past."""
        with connections[self._using].cursor() as sql:
            sql.execute(
                "SELECT event_id FROM outbox_inbox"
                " WHERE event_id = ANY(%s::uuid[]) AND consumer = %s AND generation = ANY(%s)",
                [array(event_ids), self.consumer, self._speaking],
            )
            return {event_id for (event_id,) in sql.fetchall()}

    def outcome_of(self, event_id: UUID) -> Outcome | None:
        """What this consumer has made of an event; None for one that it has not moved past."""
        with connections[self._using].cursor() as sql:
            sql.execute(
                "SELECT outcome FROM outbox_inbox"
                " WHERE event_id = %s AND consumer = %s AND generation = ANY(%s) ORDER BY generation DESC",
                [event_id, self.consumer, self._speaking],
            )
            row = sql.fetchone()
        return None if row is None else Outcome(row[0])

    def forgotten(self) -> list[tuple[datetime, datetime]]:
        """The spans of time of whose events rows of this generation were dropped."""
        with connections[self._using].cursor() as sql:
            sql.execute(
                "SELECT since, until FROM outbox_forgotten WHERE consumer = %s AND generation = ANY(%s)",
                [self.consumer, self._speaking],
            )
            return [(since, until) for since, until in sql.fetchall()]

    def claim(self, claims: list[Claim]) -> None:
        """Insert the inbox rows, last before the commit, so that `processed_at` is when the effect stood.

        Raises OverlappingConsumer when another instance committed one of them since `known` was asked,
        TransactionEnded when this is not the transaction in which the batch began, and NoPartition.
        """
        if not claims:
            return
        columns = [array(column) for column in zip(*claims, strict=True)]
        with partition_needed(), connections[self._using].cursor() as sql:
            sql.execute(_CLAIM, [*self._who, *columns])
            claimed = sql.rowcount
        if claimed != len(claims):
            self.check_same_batch()
            raise OverlappingConsumer

    def check_same_batch(self) -> None:
        """Raises TransactionEnded when this is not the transaction in which the batch began."""
        if not is_same_batch(using=self._using):
            raise ended("ended the transaction, and began another")

    def advance(self, numbers: dict[Key, int]) -> None:
        """Store the number each key has come to."""
        if not numbers:
            return
        rows = sorted(numbers.items())
        topics, names = _columns([key for key, _ in rows])
        with connections[self._using].cursor() as sql:
            sql.execute(
                "INSERT INTO outbox_key_progress AS progress (consumer, generation, topic, key, number)"
                " SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::bigint[])"
                " AS came (topic, key, number)"
                " ORDER BY topic, key ON CONFLICT (consumer, generation, topic, key)"
                " DO UPDATE SET number = EXCLUDED.number WHERE progress.number < EXCLUDED.number",
                [*self._who, topics, names, array([number for _, number in rows])],
            )

    def park(self, parks: dict[Key, tuple[ParkCause, UUID]]) -> None:
        """Have later events of these keys wait, each for its cause and event from now on.

        Of a key that is parked already its age begins again with them, but while it is being released.
        """
        if not parks:
            return
        keys = sorted(parks)
        topics, names = _columns(keys)
        causes, events = [parks[key][0].value for key in keys], [parks[key][1] for key in keys]
        now = clock.now(using=self._using)
        ids = [new_id(now) for _ in keys]
        with connections[self._using].cursor() as sql:
            sql.execute(
                "INSERT INTO outbox_parked_key AS mine"
                " (id, consumer, generation, topic, key, cause, event_id)"
                " SELECT id, %s, %s, topic, key, cause, event_id"
                " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::uuid[])"
                " AS came (id, topic, key, cause, event_id)"
                " ORDER BY topic, key ON CONFLICT (consumer, generation, topic, key)"
                " DO UPDATE SET cause = EXCLUDED.cause, event_id = EXCLUDED.event_id, alarmed_at = NULL,"
                " parked_at = CASE EXCLUDED.cause WHEN 'released' THEN mine.parked_at"
                " ELSE EXCLUDED.parked_at END"
                " WHERE (mine.cause, mine.event_id) <> (EXCLUDED.cause, EXCLUDED.event_id)",
                [*self._who, ids, topics, names, causes, events],
            )

    def unpark(self, key: Key) -> None:
        """Have the key's events run as they come."""
        with connections[self._using].cursor() as sql:
            sql.execute(
                "DELETE FROM outbox_parked_key"
                " WHERE consumer = %s AND generation = %s AND topic = %s AND key = %s",
                [*self._who, *key],
            )

    def settle(self, event_id: UUID, outcome: Outcome) -> None:
        """Store what has become, in the end, of an event that was set aside. A pruned row is not missed."""
        with connections[self._using].cursor() as sql:
            sql.execute(
                "UPDATE outbox_inbox SET outcome = %s, processed_at = clock_timestamp()"
                " WHERE event_id = %s AND consumer = %s AND generation = ANY(%s)",
                [outcome.value, event_id, self.consumer, self._speaking],
            )


def _columns(keys: Sequence[Key]) -> tuple[str, str]:
    return array([topic for topic, _ in keys]), array([key for _, key in keys])
