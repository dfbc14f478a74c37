"""Building a projection again from its topics' beginning, beside the live one, which it then replaces."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import DatabaseError, connections, transaction
from django.db.models import Max

from outbox import clock, succession
from outbox.config import Config, config
from outbox.consumer import ConsumerWorker, group_of
from outbox.errors import OutboxError, RebuildUnderWay
from outbox.generations import become_builder, cease_building, live_generation, take_live
from outbox.kafka import BrokerError, Cluster, Placement, Record, oldest_records
from outbox.models import InboxEntry
from outbox.recovery import Family, backoff, family_of
from outbox.registry import Consumer

PAUSE = 0.2
# For so long the live consumer is kept waiting for the rest to be read; then it goes on, and a swap is tried
# again later.
SWAP_SECONDS = 10.0
GROUP_SECONDS = 15.0
# A producer's clock and the database's may differ by so much.
SKEW = timedelta(hours=1)

logger = logging.getLogger(__name__)


class NotYet(OutboxError):
    """The new generation cannot replace the live one at this moment."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the generation being built has come, in records of all partitions."""

    generation: int
    read: int
    records: int


class Rebuild:
    """One rebuild of a projection. `run()` returns when the new generation is live, or after `stop` is set.

    A worker in a thread of its own reads in a group of its own, through the same code as the live one. This
    thread watches it, and swaps once it has come close: it keeps the live consumer's batches out, waits
    until the worker has passed everything that Kafka had at that moment, which the live one cannot be ahead
    of, and makes the new generation live in the same transaction. The live instances go on with their next
    batch; what the rebuild has read before them they find known. Nothing is lost and nothing counted twice,
    whenever either is killed: a rebuild that was killed goes on where it was.
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        stop: threading.Event,
        report: Callable[[Progress], None],
        settings: Config | None = None,
    ) -> None:
        self._projection = succession.projection_of(consumer)
        self._consumer = consumer
        self._stop = stop
        self._report = report
        self._settings = settings or config()
        self._cluster = Cluster(self._settings.kafka)
        self._alone = SoleBuilder(consumer)
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        # Of each partition: the offset after the last record of each day on which its fact happened.
        self._days: dict[Placement, dict[date, int]] = defaultdict(dict)

    def run(self) -> bool:
        """Whether the new generation has become live. Raises RebuildUnderWay, BrokerError, and what stops the
        worker: PublishWhileBuilding, say. What is away once it has begun is waited for."""
        with self._alone:
            self.clear_away()
            self._number = succession.begin(self._consumer)
            group = group_of(self._consumer.name, building=self._number)
            for place, offset in self._cluster.committed(group).items():
                self._days[place][date.min] = offset  # read before a restart: on which days is not known
            self._worker = ConsumerWorker(
                self._consumer,
                stop=self._ended,
                settings=self._settings,
                building=self._number,
                done=self._note_days,
            )
            thread = threading.Thread(target=self._work, name=group, daemon=True)
            thread.start()
            try:
                swapped = self._watch()
            finally:
                self._ended.set()
                thread.join()
            if swapped:
                self.clear_away()
            return swapped

    def clear_away(self) -> int:
        """Remove what earlier generations have left; returns how many they were."""
        return succession.clear_away(self._consumer, forget_group=self._forget_group)

    def _forget_group(self, number: int) -> None:
        _forget_group(self._cluster, group_of(self._consumer.name, building=number))

    def _work(self) -> None:
        try:
            self._worker.run()
        except BaseException as error:  # noqa: BLE001  (raised by the watching thread)
            self._failure = error
        finally:
            connections.close_all()

    def _watch(self) -> bool:
        """Until the swap, or until told to stop."""
        delays = backoff()
        while not self._stop.wait(PAUSE):
            if self._failure is not None:
                raise self._failure
            try:
                self._alone.keep()
                left = self._left()
                if left <= 2 * self._settings.consumer_batch and self._swap():
                    self._report(self._progress())
                    return True
            except Exception as error:
                if family_of(error) not in {Family.RECOVERABLE, Family.CONTENTION}:
                    raise
                logger.warning("rebuild of %s waits: %s", self._consumer.name, error)
                self._stop.wait(next(delays))
            else:
                delays = backoff()
        return False

    def _placements(self) -> list[Placement]:
        counts = self._cluster.partition_counts()
        return [(topic, number) for topic in self._consumer.topics for number in range(counts.get(topic, 0))]

    def _left(self) -> int:
        """How many records are to be read; says how far it has come."""
        placements = self._placements()
        self._starts = self._cluster.log_starts(placements)
        self._ends = self._cluster.watermarks(placements)
        progress = self._progress()
        self._report(progress)
        return progress.records - progress.read

    def _progress(self) -> Progress:
        reached = dict(self._worker.reached)
        records = sum(self._ends[place] - self._starts[place] for place in self._ends)
        left = sum(max(0, end - reached.get(place, self._starts[place])) for place, end in self._ends.items())
        return Progress(generation=self._number, read=records - left, records=records)

    def _swap(self) -> bool:
        using = self._consumer.using
        before = self._horizon()
        try:
            with transaction.atomic(using=using):
                with connections[using].cursor() as sql:
                    sql.execute("SET LOCAL lock_timeout = '10s'")
                take_live(self._consumer.name, using=using)
                self._ends = self._cluster.watermarks(self._placements())
                self._await_reached(self._ends)
                if before is not None:
                    self._check_live_has(before)
                succession.replace(self._consumer, new=self._number, before=before)
        except NotYet as error:
            logger.info("rebuild of %s: %s", self._consumer.name, error)
            return False
        return True

    def _await_reached(self, ends: dict[Placement, int]) -> None:
        """Return once the worker has passed these offsets. Raises NotYet when that takes too long."""
        deadline = time.monotonic() + SWAP_SECONDS
        while any(self._worker.reached.get(place, 0) < end for place, end in ends.items()):
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline or self._stop.wait(0.01):
                raise NotYet("it did not catch up in time")

    def _horizon(self) -> datetime | None:
        """From when on everything has been built from its events; None when from the beginning.

        The first whole day of UTC after all that happened in records that Kafka has deleted.
        """
        cut = {place: start for place, start in self._starts.items() if start > 0}
        if not cut or not self._cluster.committed(self._consumer.name):
            return None
        oldest = oldest_records(self._settings.kafka, cut)
        moments = [
            (record.timestamp or clock.now(using=self._consumer.using)) + SKEW for record in oldest.values()
        ]
        moments += [self._latest_of(place) for place in cut if place not in oldest]
        day = max(moments).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day + timedelta(days=1)

    def _latest_of(self, place: Placement) -> datetime:
        """When the last event of a partition happened that is now empty."""
        entries = InboxEntry.objects.using(self._consumer.using).filter(
            consumer=self._consumer.name,
            generation=live_generation(self._consumer.name, using=self._consumer.using),
            topic=place[0],
            partition=place[1],
        )
        latest: datetime | None = entries.aggregate(latest=Max("occurred_at"))["latest"]
        return latest or datetime(1970, 1, 1, tzinfo=UTC)

    def _check_live_has(self, before: datetime) -> None:
        """Raise NotYet while events from before the horizon are still to come to the live generation.

        Its effects are taken for that time, while the new one's inbox knows these events already.
        """
        committed = self._cluster.committed(self._consumer.name)
        # Copies: the worker's thread goes on with both.
        for place, days in list(self._days.items()):
            needed = max((offset for day, offset in list(days.items()) if day < before.date()), default=0)
            if committed.get(place, 0) < needed:
                raise NotYet("the live consumer must first come to old events that it has not seen")

    def _note_days(self, records: list[Record]) -> None:
        for record in records:
            place = (record.topic, record.partition)
            self._days[place][_day_of(record)] = record.offset + 1


def _day_of(record: Record) -> date:
    """The day on which its fact happened; the earliest there is when it does not say."""
    told = dict(record.headers).get("ce_time") or b""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(told.decode()).astimezone(UTC).date()
    return date.min


class SoleBuilder:
    """Keeps other processes from rebuilding a projection meanwhile. Raises RebuildUnderWay.

    It rests on a lock of this thread's session with the database: with a killed process it goes.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._session: object = None

    def __enter__(self) -> None:
        self.keep()

    def __exit__(self, *_: object) -> None:
        if self._session is connections[self._consumer.using].connection:
            with suppress(DatabaseError):
                cease_building(self._consumer.name, using=self._consumer.using)

    def keep(self) -> None:
        """Take the lock again where the session was a new one."""
        connection = connections[self._consumer.using]
        connection.ensure_connection()
        if self._session is not connection.connection:
            if not become_builder(self._consumer.name, using=self._consumer.using):
                raise RebuildUnderWay(
                    f"{self._consumer.name} is being rebuilt by another process: wait for it, or stop it."
                )
            self._session = connection.connection


def abandon(consumer: Consumer, *, settings: Config | None = None) -> int:
    """Remove the half-built generation; return its number. Raises NothingToAbandon, RebuildUnderWay."""
    cluster = Cluster((settings or config()).kafka)
    with SoleBuilder(consumer):
        number = succession.abandon(consumer)
        succession.clear_away(
            consumer, forget_group=lambda one: _forget_group(cluster, group_of(consumer.name, building=one))
        )
    return number


def _forget_group(cluster: Cluster, group: str) -> None:
    """Delete a group. Waits for a killed process's session in it to end. Raises BrokerError."""
    deadline = time.monotonic() + GROUP_SECONDS
    while True:
        try:
            return cluster.delete_group(group)
        except BrokerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
