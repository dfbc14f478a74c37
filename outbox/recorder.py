"""Keeps what has been sent: cursors and traces, while the next pages are on their way."""

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from uuid import UUID

from django.db import connections, transaction

from outbox import clock, metrics
from outbox.context import within
from outbox.ids import time_of
from outbox.lease import Leases
from outbox.pages import Page
from outbox.tracing import sent
from outbox.window import Cursor

logger = logging.getLogger(__name__)

_COPY_TRACES = 'COPY outbox_publication (event_id, partition, "offset", sent_at) FROM STDIN'
_HOLD = """
INSERT INTO outbox_refusal (event_id, position, topic, key, cause) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""


class Recorder:
    """A thread that commits the traces of finished pages together with the cursor behind them, in order.

    Conditional on the leases. Pages that finish while it commits are committed together. After a failure it
    commits nothing more; `check()` raises what it was.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._queue: SimpleQueue[Page | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._pending = 0
        # Whether anything has been committed yet.
        self.proved = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="outbox-relay-recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Return when all that was given has been committed, or nothing more will be."""
        self._queue.put(None)
        self._thread.join()

    def __len__(self) -> int:
        """How many pages are yet to be committed."""
        return self._pending

    def put(self, pages: Sequence[Page]) -> None:
        """Commit these, soon."""
        if pages:
            with self._changed:
                self._pending += len(pages)
            for page in pages:
                self._queue.put(page)

    def check(self) -> None:
        """Raise what has kept it from committing, if anything has."""
        if self._failure is not None:
            raise self._failure

    def wait(self, timeout: float) -> None:
        """Return when something has been committed, has failed, or after `timeout` seconds."""
        with self._changed:
            if self._pending and self._failure is None:
                self._changed.wait(timeout)

    def _run(self) -> None:
        try:
            while pages := self._next():
                record(pages, self._leases)
                self._told(len(pages))
                tell(pages, using=self._leases.using)
        except Exception as error:  # noqa: BLE001  (raised by the relay's thread)
            self._failure = error
            self._told(0)
        finally:
            connections[self._leases.using].close()

    def _told(self, committed: int) -> None:
        with self._changed:
            self._pending -= committed
            self.proved = self.proved or committed > 0
            self._changed.notify_all()

    def _next(self) -> list[Page]:
        """All that is there, once there is something; nothing at the end."""
        pages: list[Page] = []
        try:
            page = self._queue.get()
            while page is not None:
                pages.append(page)
                page = self._queue.get_nowait()
            self._queue.put(None)  # the end, after these
        except Empty:
            pass
        return pages


def record(pages: Sequence[Page], leases: Leases) -> None:
    """Commit what became of these pages, in one transaction. Raises LeaseLost."""
    reached: dict[int, Cursor] = {}
    for page in pages:
        reached.update(dict.fromkeys(page.shards, page.after))
    positions: dict[Cursor, list[int]] = defaultdict(list)
    for shard, cursor in reached.items():
        positions[cursor].append(shard)
    refused = [refusal for page in pages for refusal in page.refused]
    with transaction.atomic(using=leases.using):
        leases.guard()
        # What others may wait for comes after it.
        write_traces(pages, using=leases.using)
        if refused:
            held = [(row.id.decode(), row.position, row.topic, row.key_text, cause) for row, cause in refused]
            with connections[leases.using].cursor() as sql:
                sql.executemany(_HOLD, held)
        for cursor, shards in positions.items():
            leases.store(cursor, shards)
    for row, cause in refused:
        with within(row.cause):
            logger.error("%s is held: %s", row, cause)


def write_traces(pages: Sequence[Page], *, using: str) -> None:
    """Where Kafka put each record that it took, in the transaction under way."""
    connection, now = connections[using], clock.now(using=using)
    if traces := "".join(page.traces(now=now) for page in pages):
        # Django does not translate the errors of copy() itself.
        with connection.cursor() as sql, connection.wrap_database_errors, sql.copy(_COPY_TRACES) as copy:
            copy.write(traces)


def tell(pages: Sequence[Page], *, using: str) -> None:
    """Count and trace what has been recorded."""
    full = [page for page in pages if page.records]
    now = clock.now(using=using)
    for page in full:
        refused = [row.topic for row, _ in page.refused]
        taken = [
            row.topic for row, offset in zip(page.records, page.offsets, strict=True) if offset is not None
        ]
        waited = now - time_of(UUID(page.records[0].id.decode()))
        metrics.relayed(taken, refused, events=len(page.records), waited=waited.total_seconds())
        sent(page)
