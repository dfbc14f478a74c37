"""Building a projection again from its topics' beginning, beside the live one, which it then replaces."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from getpass import getuser

from django.db import DatabaseError, connections, transaction

from outbox import clock, history, succession
from outbox.clearing import SoleBuilder, clear_away
from outbox.config import Config, config
from outbox.consumer import ConsumerWorker
from outbox.envelope import FUTURE_LIMIT
from outbox.errors import GenerationEnded, HistoryGone, OutboxError
from outbox.generations import being_built, live_generation, take_building, take_live
from outbox.kafka import BrokerError, Cluster, Placement, oldest_records
from outbox.progress import Progress
from outbox.recovery import Family, backoff, family_of
from outbox.registry import Consumer
from outbox.repair.acts import Operator
from outbox.repair.following import follow, is_to_follow
from outbox.taking_over import COMMIT, TakeOver

PAUSE = 0.2
# For so long the live consumer is kept waiting for the rest to be read; then it goes on, and a swap is tried
# again later.
SWAP_SECONDS = 10.0
# Kafka is asked once while the live consumer is kept waiting.
ASK_SECONDS = 3.0
# By so much the readings that processes take of the database's clock differ at most.
CLOCKS = timedelta(seconds=1)
# A producer's clock and the database's may differ by so much.
SKEW = timedelta(hours=1)

_WAYS_OUT = (
    "Give up what was built with --abandon; or, to have only what Kafka still has and lose all else for good,"
    " rebuild with --drop-history."
)

logger = logging.getLogger(__name__)


class NotYet(OutboxError):
    """The new generation cannot replace the live one at this moment."""


class Rebuild:
    """One rebuild of a projection. `run()` returns when the new generation is live, or after `stop` is set.

    A worker in a thread of its own reads in a group of its own, through the same code as the live one. This
    thread watches it, and swaps once it has come close: it keeps the live consumer's batches out, waits
    until the worker has passed everything that Kafka had at that moment, which the live one cannot be ahead
    of, and makes the new generation live in the same transaction. The live instances go on with their next
    batch; what the rebuild has read before them they find known. Nothing is lost and nothing counted twice,
    whenever either is killed: a rebuild that was killed goes on where it was.

    report        called with how far it has come
    tell          called with what an operator should know
    drop_history  have only what Kafka still has, and lose what the live generation alone has
    operator      who asks, as the act says that is written down; the user of this machine when left out
    generation    go on with this one alone; left out, with the half-built one, or begin the next
    left_behind   after run(): why the old generation could not be cleared away; None when it was
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        stop: threading.Event,
        report: Callable[[Progress], None],
        tell: Callable[[str], None] = logger.info,
        drop_history: bool = False,
        operator: Operator | None = None,
        generation: int | None = None,
        settings: Config | None = None,
    ) -> None:
        succession.projection_of(consumer)
        self._consumer = consumer
        self._stop = stop
        self._report = report
        self._tell = tell
        self._told: set[str] = set()
        self._before: dict[Placement, int] | None = None  # what one that was cut short had read
        self._drop_history = drop_history
        self._operator = operator or Operator(getuser())
        self._generation = generation
        self._settings = settings or config()
        self._cluster = Cluster(self._settings.kafka)
        self._hurried = Cluster(self._settings.kafka, timeout=ASK_SECONDS)
        self._alone = SoleBuilder(consumer)
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        # Why what earlier generations left behind could not be removed after the swap.
        self.left_behind: Exception | None = None

    def run(self) -> bool:
        """Whether the new generation has become live. What is away once it has begun is waited for.

        Raises RebuildUnderWay, BrokerError, HistoryGone, GenerationEnded when it is not being built any more,
        and what stops the worker, PublishWhileBuilding say.
        """
        with self._alone:
            clear_away(self._consumer, settings=self._settings)
            self._number = self._generation or succession.begin(self._consumer)
            if being_built(self._consumer, self._number) is None:
                raise GenerationEnded
            self._taking_over = TakeOver(self._consumer, new=self._number)
            self._worker = ConsumerWorker(
                self._consumer, stop=self._ended, settings=self._settings, building=self._number
            )
            thread = threading.Thread(target=self._work, name=self._worker.group, daemon=True)
            thread.start()
            try:
                swapped = self._watch()
            finally:
                self._ended.set()
                thread.join()
            if swapped:
                self._clear()
            return swapped

    def _clear(self) -> None:
        try:
            clear_away(self._consumer, settings=self._settings)
        except (BrokerError, DatabaseError) as error:
            # The rebuild has succeeded, and clearing away can be repeated.
            logger.warning("rebuild of %s: not cleared away: %s", self._consumer.name, error)
            self.left_behind = error

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
        if self._before is None:
            self._before = self._cluster.committed(self._worker.group, placements)
        self._starts = self._cluster.log_starts(placements)
        self._ends = self._cluster.watermarks(placements)
        progress = self._progress()
        self._report(progress)
        return progress.records - progress.read

    def _progress(self) -> Progress:
        reached = {**(self._before or {}), **self._worker.reached}
        records = sum(self._ends[place] - self._starts[place] for place in self._ends)
        left = sum(max(0, end - reached.get(place, self._starts[place])) for place, end in self._ends.items())
        return Progress(generation=self._number, read=records - left, records=records)

    def _swap(self) -> bool:
        """Whether it could be done now.

        What takes long, reading both inboxes and taking over what Kafka no longer has, is done while the live
        consumer goes on; while it is kept waiting, only what was processed since then is looked at.
        """
        using = self._consumer.using
        asked_at = clock.now(using=using)
        since = asked_at - COMMIT
        placements = self._placements()
        try:
            self._await_reached(self._cluster.watermarks(placements))
            old = live_generation(self._consumer.name, using=using)
            before = self._horizon(old, until=asked_at - CLOCKS)
            self._check_live_has(old, before, since=None)
            self._taking_over.ahead(old=old, before=before)
            follow(self._consumer, building=self._number)
            with transaction.atomic(using=using):
                with connections[using].cursor() as sql:
                    sql.execute("SET LOCAL lock_timeout = '10s'")
                take_live(self._consumer.name, using=using)
                self._ends = self._hurried.watermarks(placements)
                self._await_reached(self._ends)
                # From here on the worker commits nothing: what is checked is what becomes live.
                take_building(self._consumer.name, self._number, using=using)
                self._check_live_has(old, before, since=since)
                self._check_has_all(old, before, since=since)
                if is_to_follow(self._consumer, building=self._number, since=since):
                    raise NotYet("an operator has just decided about a dead letter")
                succession.replace(
                    self._consumer,
                    new=self._number,
                    before=before,
                    operator=self._operator,
                    drops_history=self._drop_history,
                )
                self._taking_over.rest(old=old, before=before)
        except NotYet as error:
            self._say(f"not yet live: {error}")
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

    def _horizon(self, old: int, *, until: datetime) -> datetime | None:
        """From when on everything has been built from its events; None when from the beginning.

        The first whole day of UTC after all that the live generation has come to and Kafka no longer has. Of
        what it has come to since `until` Kafka was not asked: the swap looks at it.
        Raises HistoryGone when that is yet to come.
        """
        if self._drop_history:
            return None
        moments = self._gone_from_kafka(old, until=until)
        if not moments:
            if history.has_keys_only_of(self._consumer, old, but_not=self._number, until=until):
                raise HistoryGone(
                    f"Kafka no longer has events that {self._consumer.name} once came to, and its inbox does"
                    f" not say of when they were. {_WAYS_OUT}"
                )
            return None
        day = max(moments).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        before = day + timedelta(days=1)
        if before > clock.now(using=self._consumer.using):
            raise HistoryGone(
                f"Kafka no longer has all events of {day:%Y-%m-%d}, or of days before: what can be built"
                f" again begins with {before:%Y-%m-%d}. Go on when that day has begun. {_WAYS_OUT}"
            )
        self._say(f"what happened before {before:%Y-%m-%d} is taken over: Kafka no longer has all of it")
        return before

    def _gone_from_kafka(self, old: int, *, until: datetime) -> list[datetime]:
        """Moments up to which something may have happened that cannot be read any more."""
        latest = history.latest_only_of(self._consumer, old, but_not=self._number, until=until)
        cut = {place: start for place, start in self._starts.items() if start > 0}
        gone = [] if latest is None else [latest]
        if not cut or not history.has_begun(self._consumer, old):
            return gone
        # The inbox may have been shortened, even by all that it knew of deleted records.
        ahead = FUTURE_LIMIT if latest is None else SKEW
        now = clock.now(using=self._consumer.using)
        kept = oldest_records(self._settings.kafka, cut).values()
        return gone + [(record.timestamp or now) + ahead for record in kept]

    def _check_live_has(self, old: int, before: datetime | None, *, since: datetime | None) -> None:
        """Raise NotYet while events from before the horizon are still to come to the live generation.

        Its effects are taken for that time, while the new one's inbox knows these events already.
        """
        if before is None:
            return
        latest = history.latest_only_of(self._consumer, self._number, but_not=old, before=before, since=since)
        if latest is not None:
            raise NotYet(
                f"the live consumer has yet to come to an event of {latest:%Y-%m-%d}, so it must be running"
            )

    def _check_has_all(self, old: int, before: datetime | None, *, since: datetime) -> None:
        """Raise NotYet when Kafka has deleted what the live generation came to a moment ago."""
        if self._drop_history:
            return
        latest = history.latest_only_of(self._consumer, old, but_not=self._number, since=since)
        if latest is not None and (before is None or latest >= before):
            raise NotYet("Kafka has just deleted events")

    def _say(self, message: str) -> None:
        """Tell the operator, once."""
        if message not in self._told:
            self._told.add(message)
            self._tell(message)
