"""The relay: publishes the outbox to Kafka, in order per key, skipping nothing.

A page of the window is sent and flushed; then the cursor and the trace rows commit together. A crash in
between sends the page again from the cursor, a key's rows contiguously and in order, so that the first
occurrence of every event is in order and readers drop the rest by id.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db import Error as DatabaseError

from outbox import clock
from outbox.config import Config, config
from outbox.envelope import cloudevent_headers
from outbox.errors import LeaseLost, OutboxError, UnknownTopic
from outbox.kafka import BrokerError, RecordProducer, RecordRefused
from outbox.keys import partition_of
from outbox.lease import Lease
from outbox.listen import Listener
from outbox.recovery import Family, backoff, family_of
from outbox.window import Cursor, OutboxRecord, open_window, read_page

logger = logging.getLogger(__name__)

_COPY_TRACES = 'COPY outbox_publication (event_id, partition, "offset", published_at) FROM STDIN'
BEHIND = "waits behind a refused event of its key"


class Trace(NamedTuple):
    """Where Kafka put an event, and when it said so; a row of outbox_publication."""

    event_id: UUID
    partition: int
    offset: int
    published_at: datetime


@dataclass(slots=True)
class Sent:
    """What became of the records of one page.

    held  the keys of this page's refused records: what comes behind them waits
    """

    traces: list[Trace] = field(default_factory=list)
    refused: list[tuple[OutboxRecord, str]] = field(default_factory=list)  # record, cause
    held: set[tuple[str, str]] = field(default_factory=set)

    def refuse(self, record: OutboxRecord, cause: str) -> None:
        """Set a record aside, and its key with it."""
        self.refused.append((record, cause))
        if record.key is not None:
            self.held.add((record.topic, record.key))


class Relay:
    """One relay process. `run()` returns after `stop` is set, with nothing of its own left undone."""

    def __init__(
        self, *, stop: threading.Event, using: str = DEFAULT_DB_ALIAS, settings: Config | None = None
    ) -> None:
        self._stop = stop
        self._using = using
        self._settings = settings or config()
        self._lease = Lease(using=using, seconds=self._settings.lease)
        self._listener = Listener(using=using)
        self._producer: RecordProducer | None = None
        self._cursor: Cursor | None = None
        self._renewed = 0.0
        self._partitions: dict[str, int] = {}
        self._held: set[tuple[str, str]] = set()
        self._round_robin = 0

    def run(self) -> None:
        """Relay until stopped; what is away is waited for, with backoff, however long it takes."""
        delays = backoff()
        try:
            while not self._stop.is_set():
                try:
                    if self._step():
                        delays = backoff()
                except (OutboxError, DatabaseError) as error:
                    self._recover(error)
                    self._stop.wait(next(delays))
        finally:
            self._finish()

    def _step(self) -> bool:
        """One turn of the loop; False when this relay is standing by."""
        if self._cursor is None:
            self._cursor = self._lease.acquire()
            if self._cursor is None:
                self._stop.wait(self._settings.lease / 5)
                return False
            self._begin()
        sent = self.tick()
        self._renew_if_due()
        if not sent:
            self._listener.wait(self._settings.relay_poll)
        return True

    def _begin(self) -> None:
        self._renewed = time.monotonic()
        self._listener.listen()
        with connections[self._using].cursor() as sql:
            sql.execute("SELECT DISTINCT topic, key FROM outbox_refusal WHERE key IS NOT NULL")
            self._held = {(topic, key) for topic, key in sql.fetchall()}
        self._new_producer().prepare()
        logger.info("relaying all shards as %s", self._lease.owner)

    def tick(self) -> int:
        """Send the next page, if there is one; return how many events it had."""
        cursor = self._cursor
        assert cursor is not None  # noqa: S101  (the lease is held)
        if cursor.current is None:
            cursor = open_window(cursor, using=self._using)
        page = read_page(
            cursor,
            shards=self._lease.shards,
            limit=self._settings.relay_page,
            size=self._settings.relay_page_bytes,
            using=self._using,
        )
        after = cursor.after(page)
        if page.records:
            self._commit(self._send(page.records), after)
        # Else there is nothing to write: after a crash the wider window holds nothing more.
        self._cursor = after
        return len(page.records)

    def _send(self, records: list[OutboxRecord]) -> Sent:
        # All partitions first: a topic that is not there yet must not have half a page sent again and again.
        placed = [(record, self._partition(record)) for record in records]
        sent, batch_refused = Sent(), False
        try:
            for record, partition in placed:
                self._produce(record, partition, sent)
            self._flush()
        except BrokerError:
            self._drop_producer()  # which hears what Kafka had said of the records until then
            batch_refused = any(cause != BEHIND for _, cause in sent.refused)
            if not batch_refused:
                raise
        if batch_refused:
            sent = self._send_one_by_one(placed)
        if len(sent.traces) + len(sent.refused) != len(records):
            raise BrokerError("Kafka did not say where every record went; the page will be sent again")
        return sent

    def _send_one_by_one(self, placed: list[tuple[OutboxRecord, int]]) -> Sent:
        """Find the guilty record: Kafka refuses the whole batch it is in, and the producer stops there."""
        sent = Sent()
        self._new_producer()
        for record, partition in placed:
            refused = len(sent.refused)
            try:
                self._produce(record, partition, sent)
                self._flush()
            except BrokerError:
                if len(sent.refused) == refused:
                    raise
                self._new_producer()
        return sent

    def _new_producer(self) -> RecordProducer:
        self._drop_producer()
        self._producer = RecordProducer(self._settings.kafka, max_bytes=self._settings.max_event_bytes)
        return self._producer

    def _flush(self) -> None:
        while self._producer is not None and self._producer.flush(self._settings.lease / 5):
            self._renew_if_due()
            if self._stop.is_set():
                raise BrokerError("stopped while Kafka was away; the page will be sent again")

    def _produce(self, record: OutboxRecord, partition: int, sent: Sent) -> None:
        assert self._producer is not None  # noqa: S101  (made with the lease)
        if record.key is not None and (record.topic, record.key) in self._held | sent.held:
            sent.refuse(record, BEHIND)
            return

        def done(refusal: RecordRefused | None, partition: int, offset: int) -> None:
            if refusal is None:
                sent.traces.append(Trace(record.id, partition, offset, clock.now(using=self._using)))
            else:
                sent.refuse(record, str(refusal))

        try:
            self._producer.send(
                record.topic,
                partition,
                key=None if record.key is None else record.key.encode(),
                value=bytes(record.payload),
                headers=_headers(record),
                done=done,
            )
        except RecordRefused as error:
            sent.refuse(record, str(error))

    def _partition(self, record: OutboxRecord) -> int:
        count = self._partitions.get(record.topic) or self._read_partitions(record.topic)
        if record.key is not None:
            return partition_of(record.key, count)
        if record.partition is not None:
            return record.partition
        self._round_robin += 1
        return self._round_robin % count

    def _read_partitions(self, topic: str) -> int:
        with connections[self._using].cursor() as sql:
            sql.execute("SELECT name, partitions FROM outbox_topic")
            self._partitions = dict(sql.fetchall())
        try:
            return self._partitions[topic]
        except KeyError:
            raise UnknownTopic(
                f"Topic {topic!r} has not been created: run `manage.py topics apply`."
            ) from None

    def _commit(self, sent: Sent, cursor: Cursor) -> None:
        """The page's traces and the cursor behind it, in one transaction; conditional on the lease."""
        connection = connections[self._using]
        with transaction.atomic(using=self._using):
            self._lease.renew(cursor)
            # Django does not translate the errors of copy() itself.
            with connection.cursor() as sql, connection.wrap_database_errors:
                if sent.traces:
                    with sql.copy(_COPY_TRACES) as copy:
                        for trace in sent.traces:
                            copy.write_row(trace)
                if sent.refused:
                    sql.executemany(
                        "INSERT INTO outbox_refusal (event_id, position, topic, key, cause)"
                        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        [(row.id, row.position, row.topic, row.key, why) for row, why in sent.refused],
                    )
        self._renewed = time.monotonic()
        self._held |= sent.held
        for record, why in sent.refused:
            logger.error("%s %s of key %s is held: %s", record.type, record.id, record.key, why)

    def _renew_if_due(self) -> None:
        if self._cursor is not None and time.monotonic() - self._renewed > self._settings.lease / 3:
            self._lease.renew(self._cursor)
            self._renewed = time.monotonic()

    def _recover(self, error: Exception) -> None:
        """Begin again at the stored cursor, with a new producer: a crashed database may be behind memory."""
        if isinstance(error, LeaseLost):
            logger.warning("%s", error)
        elif family_of(error) in {Family.RECOVERABLE, Family.CONTENTION}:
            logger.warning("waiting: %s", str(error).partition("\n")[0])
        else:
            raise error
        if self._stop.is_set():
            return  # the lease is given back at the end
        self._drop_producer()
        self._listener.close()
        self._lease.forget()
        self._cursor = None
        connections[self._using].close()

    def _drop_producer(self) -> None:
        if self._producer is not None:
            self._producer.abandon()
            self._producer = None

    def _finish(self) -> None:
        self._drop_producer()
        self._listener.close()
        try:
            if self._lease.held:
                self._lease.release()
        except DatabaseError:
            logger.warning("the database is away: the lease runs out by itself")
        connections[self._using].close()


def _headers(record: OutboxRecord) -> list[tuple[str, bytes | None]]:
    return cloudevent_headers(
        id=record.id,
        source=record.source,
        type=record.type,
        occurred_at=record.occurred_at,
        key=record.key,
        number=record.number,
        correlation_id=record.correlation_id,
        causation_id=record.causation_id,
        traceparent=record.traceparent,
        content_type=record.content_type,
    )
