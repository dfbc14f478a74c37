"""Each instance tells the database about once a second where it stands; lag is read from that.

It does so in a thread and on a connection of its own: whatever keeps it from being written neither slows the
instance nor fails it. What cannot be written is left out.
"""

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import Error, connections, transaction

from outbox import clock
from outbox.envelope import happened_at
from outbox.kafka import BrokerError, GroupReader, Placement, Record, member_name
from outbox.lag import SLOT
from outbox.registry import Consumer
from outbox.sampling import sample_when_due

EVERY = 1.0
TIMEOUT_MS = 2_000
# What the client has from its last fetch may be so old.
FETCH_SECONDS = 2.0
PATIENCE = 1.0
FAREWELL = 5.0

logger = logging.getLogger(__name__)

_SEEN = """
INSERT INTO outbox_consumer_member (consumer, name, partitions) VALUES (%s, %s, %s::jsonb)
ON CONFLICT (consumer, name) DO UPDATE SET partitions = EXCLUDED.partitions, seen_at = clock_timestamp()
"""
# All has been processed until now where the end was reached, else until the last event, about.
_POSITIONS = """
WITH told AS (
    SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(reached)s::bigint[],
        %(ends)s::bigint[], %(told)s::timestamptz[], %(occurred)s::timestamptz[],
        %(processed)s::timestamptz[])
        AS one (topic, partition, reached, next_offset, told_at, occurred_at, processed_at)
), ends AS (
    INSERT INTO outbox_partition_end AS known (topic, partition, next_offset, told_at)
    SELECT topic, partition, next_offset, told_at FROM told WHERE next_offset IS NOT NULL
    ORDER BY topic, partition
    ON CONFLICT (topic, partition) DO UPDATE SET told_at = EXCLUDED.told_at, next_offset = CASE
        WHEN (EXCLUDED.topic, EXCLUDED.partition) IN
            (SELECT topic, partition FROM told WHERE reached >= next_offset) THEN EXCLUDED.next_offset
        ELSE greatest(known.next_offset, EXCLUDED.next_offset) END
)
INSERT INTO outbox_consumer_position AS known
    (consumer, topic, partition, reached, occurred_at, processed_at, clear_until)
SELECT %(consumer)s, topic, partition, reached, occurred_at, processed_at,
    CASE WHEN reached >= next_offset THEN clock_timestamp() ELSE occurred_at END
FROM told ORDER BY topic, partition
ON CONFLICT (consumer, topic, partition) DO UPDATE SET
    reached = EXCLUDED.reached,
    occurred_at = coalesce(EXCLUDED.occurred_at, known.occurred_at),
    processed_at = coalesce(EXCLUDED.processed_at, known.processed_at),
    clear_until = coalesce(EXCLUDED.clear_until, known.clear_until),
    reported_at = clock_timestamp()
"""
# Whether there is a sample of now, which is raised; an older one had another time.
_DELAY = """
WITH present AS (
    SELECT max(at) AS at FROM outbox_lag_sample
    WHERE consumer = %(consumer)s AND at > clock_timestamp() - make_interval(secs => %(recent)s)
), raised AS (
    UPDATE outbox_lag_sample AS sample SET delay = %(delay)s FROM present
    WHERE consumer = %(consumer)s AND sample.at = present.at AND (delay IS NULL OR delay < %(delay)s)
)
SELECT at IS NOT NULL FROM present
"""


class Standing(NamedTuple):
    """How far a partition has been processed, and where it ended at which time, by the monotonic clock."""

    reached: int | None
    end: int | None
    told_at: float


class Done(NamedTuple):
    """The last record of a partition that was processed, and when, by the monotonic clock."""

    record: Record
    at: float


class Reporter:
    """Says who reads what and how far it is, while its instance runs:

    with Reporter(consumer, reader=reader) as reporter:
        ...
        reporter.polled()
        ...
        reporter.done(last_records, oldest=when_the_first_of_them_happened)
    """

    def __init__(self, consumer: Consumer, *, reader: GroupReader) -> None:
        self._consumer = consumer
        self._reader = reader
        self._name = member_name()
        self._looked_at = 0.0
        # Replaced whole by the instance's thread, and looked at by the other one.
        self._standing: dict[Placement, Standing] = {}
        self._done: dict[Placement, Done] = {}
        # The longest delay that has yet to be told, by two clocks: the event's, since 1970, when it happened,
        # and the monotonic one when it had been processed.
        self._longest = -math.inf
        self._longest_lock = threading.Lock()
        self._stop = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name=f"report-{consumer.name}", daemon=True)

    def __enter__(self) -> "Reporter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take leave. A database that hangs is not waited for longer than FAREWELL."""
        self._stop.set()
        self._thread.join(FAREWELL)

    def polled(self) -> None:
        """Look at where partitions end, about once a second. Only who polls may ask the client."""
        now = time.monotonic()
        if now - self._looked_at < EVERY:
            return
        self._looked_at = now
        ends, before = self._reader.known_ends(), self._standing
        begun = self._begun([place for place in ends if place not in before])
        self._standing = {
            place: Standing(before[place].reached if place in before else begun.get(place), end, now)
            for place, end in ends.items()
        }

    def done(self, last: Mapping[Placement, Record], *, oldest: datetime | None) -> None:
        """Take note of the last record of each partition that has been processed just now, and of when the
        first event happened that was.
        """
        at = time.monotonic()
        if oldest is not None:
            with self._longest_lock:
                self._longest = max(self._longest, at - oldest.timestamp())
        changed = dict(self._standing)
        for place, record in last.items():
            end, told_at = changed[place][1:] if place in changed else (None, 0.0)
            changed[place] = Standing(record.offset + 1, end, told_at)
            self._done[place] = Done(record, at)
        self._standing = changed

    def _begun(self, places: list[Placement]) -> dict[Placement, int]:
        """From where these partitions are read, of which nothing has been processed yet; asked once."""
        if not places:
            return {}
        try:
            return self._reader.committed(places, timeout=PATIENCE)
        except BrokerError:
            return {}

    def _run(self) -> None:
        try:
            while True:
                self._try(self._report)
                if self._stop.wait(EVERY):
                    break
                self._try(self._sample)
            self._try(self._report_and_leave)
        finally:
            connections[self._consumer.using].close()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            with transaction.atomic(using=self._consumer.using):
                with connections[self._consumer.using].cursor() as sql:
                    sql.execute("SELECT set_config('statement_timeout', %s, true)", [str(TIMEOUT_MS)])
                step()
            self._failed = False
        except Error as error:
            connections[self._consumer.using].close()
            if not self._failed:
                self._failed = True
                logger.info("consumer %s cannot say where it stands: %s", self._consumer.name, error)

    def _report(self) -> None:
        standing = self._standing
        done, self._done = self._done, {}
        now, monotonic = clock.now(using=self._consumer.using), time.monotonic()
        places = sorted(place for place, one in standing.items() if one.reached is not None)
        fresh = [done.get(place) for place in places]
        with connections[self._consumer.using].cursor() as sql:
            sql.execute(_SEEN, [self._consumer.name, self._name, json.dumps(sorted(standing))])
            if places:
                sql.execute(
                    _POSITIONS,
                    {
                        "consumer": self._consumer.name,
                        "topics": [topic for topic, _ in places],
                        "partitions": [partition for _, partition in places],
                        "reached": [standing[place].reached for place in places],
                        "ends": [_fresh_end(standing[place], monotonic) for place in places],
                        "told": [
                            _moment(standing[place].told_at - FETCH_SECONDS, now, monotonic)
                            for place in places
                        ],
                        "occurred": [one and happened_at(one.record) for one in fresh],
                        "processed": [one and _moment(one.at, now, monotonic) for one in fresh],
                    },
                )
        self._tell_longest(now.timestamp() - monotonic)

    def _tell_longest(self, offset: float) -> None:
        """Raise the delay of the present sample, which is as long as that of any event since, by whichever
        instance. `offset` is what the database's clock is ahead of the monotonic one.

        It is told again until there is one and that has been committed.
        """
        longest = self._longest
        if longest == -math.inf:
            return
        with connections[self._consumer.using].cursor() as sql:
            sql.execute(
                _DELAY,
                {
                    "consumer": self._consumer.name,
                    "delay": max(longest + offset, 0.0),
                    "recent": 2 * SLOT.total_seconds(),
                },
            )
            [has_sample] = sql.fetchone()
        if has_sample:
            transaction.on_commit(lambda: self._forget_longest(longest), using=self._consumer.using)

    def _forget_longest(self, told: float) -> None:
        with self._longest_lock:
            if self._longest == told:
                self._longest = -math.inf

    def _sample(self) -> None:
        sample_when_due(using=self._consumer.using)

    def _report_and_leave(self) -> None:
        self._report()
        with connections[self._consumer.using].cursor() as sql:
            sql.execute(
                "DELETE FROM outbox_consumer_member WHERE consumer = %s AND name = %s",
                [self._consumer.name, self._name],
            )


def _fresh_end(standing: Standing, monotonic: float) -> int | None:
    """While a handler takes its time, nobody looks at where partitions end."""
    return standing.end if monotonic - standing.told_at < 2 * EVERY else None


def _moment(at: float, now: datetime, monotonic: float) -> datetime:
    return now - timedelta(seconds=monotonic - at)
