"""The consumer's loop: poll, run, commit the offsets; and what to do when that fails."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from uuid import UUID

from django.db import Error as DjangoDatabaseError
from django.db import connections

from outbox import metrics
from outbox.aside import fingerprint
from outbox.beginnings import Beginnings
from outbox.config import Config, config
from outbox.context import consuming
from outbox.kafka import BrokerError, GroupReader, Placement, Record
from outbox.losses import Losses
from outbox.pausing import Gate
from outbox.policies import Policy, Retry, Wait, declared_for, ending
from outbox.processor import Processor, Ran
from outbox.recovery import Family, backoff, family_of, policy_for
from outbox.registry import Consumer
from outbox.reporting import Reporter
from outbox.suspects import DEATHS, Suspects
from outbox.watchdog import Watchdog, longest_calls

POLL_SECONDS = 0.5
# So many times as long as an instance's longest turn should take Kafka waits for its next one: what is not in
# a handler's hands, as locks and commits, has no limit of its own.
PATIENCE = 3

logger = logging.getLogger(__name__)


def group_of(consumer: str, *, building: int | None = None) -> str:
    """The Kafka group in which a consumer reads; the one that builds a generation reads in its own."""
    return consumer if building is None else f"{consumer}.generation-{building}"


class ConsumerWorker:
    """One instance of a consumer. `run()` returns after `stop` is set, with the events in hand finished.

    Polling goes on whatever fails, so that the instance stays a member of its group. What is away is
    waited for as long as it takes; what fails alone is tried again alone, as its policy says. A consumer
    that is paused, by an operator or because many keys fail for one reason, processes nothing meanwhile.

    building  the generation of a projection to build, in a group of its own; None works on the live one
    reached   the next offset of each partition of its own whose records up to there are done
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        stop: threading.Event,
        settings: Config | None = None,
        building: int | None = None,
    ) -> None:
        self._consumer = consumer
        self._stop = stop
        self._settings = settings or config()
        self._watchdog = Watchdog(using=consumer.using)
        self._processor = Processor(
            consumer, building=building, watch=self._watchdog.watch(consumer), stopping=stop.is_set
        )
        self.group = group_of(consumer.name, building=building)
        self.reached: dict[Placement, int] = {}
        self._pending: list[Record] = []
        self._alone = 0  # how many of the pending records are run one at a time, after their batch failed
        self._attempts = 0  # at the event that the last run failed at, run alone
        self._guilty: UUID | None = None
        # By fingerprint the type of the events that failed with it, and those since one was processed.
        self._failed: dict[str, tuple[str, set[UUID | None]]] = {}
        self._may_be_due = False  # whether events may wait whose gap has closed
        self._held = False
        self._paused = False
        # A rebuild goes on: it is watched by whoever began it.
        self._gate = Gate(consumer) if building is None else None
        self._beginnings = Beginnings(consumer, group=self.group, building=building, settings=self._settings)
        self._suspects = Suspects(self.group, width=self._settings.consumer_batch, using=consumer.using)
        self._losses = Losses(consumer, group=self.group, alarm_after=self._settings.gap_alarm)
        self._polled_at = time.monotonic()
        self._retry_at: float | None = None
        self._delays: Iterator[float] = backoff()
        self._reader = GroupReader(
            self._settings.kafka,
            group=self.group,
            topics=consumer.topics,
            on_lost=self._drop,
            on_gained=self._gain,
            poll_within=PATIENCE * (self._settings.batch_seconds + longest_calls(consumer.routes.values())),
            mark_ends=building is not None,
        )
        # Lag is that of the live one.
        self._reporter = Reporter(consumer, reader=self._reader) if building is None else None

    @property
    def paused(self) -> bool:
        """Whether this instance has noticed that its consumer is paused, and holds still."""
        return self._paused

    def run(self) -> None:
        """Consume until stopped, then leave the group. Raises BrokerError when Kafka shuts it out."""
        logger.info("consumer %s reads %s", self.group, ", ".join(self._consumer.topics))
        try:
            with consuming(self.group), self._watchdog, self._suspects, self._reporter or nullcontext():
                while not self._stop.is_set():
                    self._turn()
        finally:
            self._reader.close()
            connections[self._consumer.using].close()

    def _turn(self) -> None:
        # Not `self._pending += ...`: a rebalance inside poll() replaces the list.
        polled = self._reader.poll(limit=self._settings.consumer_batch, timeout=self._patience())
        self._polled_at = time.monotonic()
        self._losses.note(self._reader.take_losses())
        self._pending.extend(polled)
        if self._reporter is not None:
            self._reporter.polled()
        if self._retry_at is None or time.monotonic() >= self._retry_at:
            self._work()
        if not self._pending and not self._may_be_due:
            for place, end in self._reader.take_ends().items():
                self.reached[place] = max(end, self.reached.get(place, 0))

    def _patience(self) -> float:
        """How long to poll: not at all with work in hand, and not beyond the next retry."""
        if self._retry_at is not None:
            return min(POLL_SECONDS, max(0.0, self._retry_at - time.monotonic()))
        return 0.0 if (self._pending or self._may_be_due) and not self._paused else POLL_SECONDS

    def _work(self) -> None:
        """Run the pending records until they are done, one must wait, or it is time to poll or to stop."""
        while not self._stop.is_set():
            if time.monotonic() >= self._turn_ends():
                self._hold()
                return
            try:
                self._suspects.take()
                self._beginnings.tell()
                self._losses.tell()
                if self._is_paused():
                    return
                due = self._first_due()
            except (DjangoDatabaseError, BrokerError) as error:
                self._wait(error)
                return
            if due is None and not self._pending:
                self._go_on()  # what was waited for is there again, or went to another member
                return
            width = 1 if self._alone else self._settings.consumer_batch
            batch = self._suspects.cut(self._pending[:width]) if due is None else [due]
            try:
                ran = self._run(batch, is_due=due is not None)
            except Exception as error:  # noqa: BLE001  (every family has its strategy; unknown ones too)
                self._suspects.absolve()
                if self._must_wait(batch, error):
                    return
            else:
                self._suspects.end(batch[0], new=ran.new and not ran.is_due)
                self._may_be_due |= ran.is_due
                for mark in [
                    mark for mark, (kind, _) in self._failed.items() if not kind or kind in ran.worked
                ]:
                    del self._failed[mark]
                self._done(batch[: ran.done], oldest=ran.oldest)

    def _run(self, batch: list[Record], *, is_due: bool) -> Ran:
        """One transaction, which leaves the time to poll again."""
        if died := self._suspects.begin(batch[0]):
            self._processor.condemn(died, attempts=DEATHS, end=ending(self._policy(died)), record=batch[0])
        # What waited behind a gap that a suspect closes is run alone as well, each when it has been marked.
        until = 0.0 if self._suspects.suspects(batch[0]) else self._turn_ends()
        if is_due:
            return self._processor.go_on(batch[0], until=until)
        return self._processor.run(batch, until=until)

    def _turn_ends(self) -> float:
        """When no further event is to be begun before the next poll, by the monotonic clock."""
        return self._polled_at + self._settings.batch_seconds

    def _first_due(self) -> Record | None:
        """What comes before all that is pending: an event whose gap has closed, and which waits still."""
        if not self._may_be_due:
            return None
        due = self._processor.first_due(self._reader.assignment())
        self._may_be_due = due is not None
        return due

    def _is_paused(self) -> bool:
        """Whether the consumer is paused; what waited goes on from the beginning once it is not."""
        paused = self._gate is not None and self._gate.is_closed()
        if paused and not self._paused:
            self._hold()
            self._attempts, self._retry_at = 0, None
            self._failed.clear()
            self._processor.pardon()
        self._paused = paused
        return paused

    def _done(self, batch: list[Record], *, oldest: datetime | None) -> None:
        """Forget what has been committed, tell Kafka, and fetch on. Nothing, when that had waited."""
        del self._pending[: len(batch)]
        self._alone = max(0, self._alone - len(batch))
        self._go_on()
        last = {(record.topic, record.partition): record for record in batch}
        if self._reporter is not None:
            self._reporter.done(last, oldest=oldest)
        if not batch:
            return
        offsets = {place: record.offset + 1 for place, record in last.items()}
        if not self._may_be_due:
            self.reached.update(offsets)
        self._reader.commit(offsets)

    def _must_wait(self, batch: list[Record], error: Exception) -> bool:
        """Decide what a failed batch needs: False when it can be run again at once, in another way."""
        family = family_of(error)
        metrics.retried(self._consumer.name, family.value)
        if family is Family.RECOVERABLE:
            return self._wait(error)
        if family is Family.FATAL:
            raise error
        if len(batch) > 1:
            self._alone = len(batch)
            return False
        policy = self._policy(error)
        if isinstance(policy, Wait):
            return self._wait(error)
        if self._guilty != self._processor.guilty:  # of those that a gap releases, each has its own attempts
            self._guilty, self._attempts = self._processor.guilty, 0
        self._attempts += 1
        limit = policy.times if isinstance(policy, Retry) else 1
        if self._attempts < limit or not self._processor.may_condemn:
            return self._wait(error)
        if isinstance(policy, Retry) and self._has_tripped(error):
            return True
        self._processor.condemn(error, attempts=self._attempts, end=ending(policy))
        return False

    def _policy(self, error: Exception) -> Policy:
        return policy_for(error, self._consumer.on_error, unknown_retries=self._settings.unknown_retries)

    def _has_tripped(self, error: Exception) -> bool:
        """Whether so many keys failed in this way, which nobody declared, that the consumer pauses itself."""
        if self._gate is None or declared_for(error, self._consumer.on_error) is not None:
            return False
        mark = fingerprint(error)
        _, in_a_row = self._failed.setdefault(mark, (self._processor.guilty_type, set()))
        in_a_row.add(self._processor.guilty)
        try:
            tripped = self._gate.trips(
                keys=self._settings.failing_keys,
                within=timedelta(seconds=self._settings.failing_within),
                fingerprint=mark,
                failure=f"{type(error).__name__}: {error}",
                in_a_row=len(in_a_row),
            )
        except DjangoDatabaseError as failure:
            return self._wait(failure)
        if tripped:
            self._failed.clear()
        return tripped

    def _wait(self, error: Exception) -> bool:
        """Fetch nothing for a while, keep the pending records, and take a new connection afterwards."""
        connections[self._consumer.using].close()
        if self._retry_at is None:
            logger.warning(
                "consumer %s waits: %s: %s",
                self._consumer.name,
                type(error).__name__,
                str(error).partition("\n")[0],
            )
        self._hold()
        self._retry_at = time.monotonic() + next(self._delays)
        return True

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._reader.hold()

    def _go_on(self) -> None:
        """Nothing is being waited for any more."""
        self._attempts, self._delays = 0, backoff()
        if self._retry_at is not None:
            self._retry_at = None
            logger.info("consumer %s goes on", self._consumer.name)
        if self._held and not self._paused:
            self._held = False
            self._reader.release()

    def _gain(self, places: set[Placement]) -> None:
        """Be careful with what others left in these, and look for what they had no time for."""
        self._suspects.gain(places)
        self._beginnings.gain()
        self._may_be_due = True

    def _drop(self, lost: set[Placement]) -> None:
        """Leave records of partitions that went to another member to that member."""
        self._pending = [record for record in self._pending if (record.topic, record.partition) not in lost]
        for place in lost:
            self.reached.pop(place, None)
        self._attempts = 0
        self._processor.pardon()
        self._suspects.release(lost)
        if not self._pending and self._retry_at is not None:
            self._retry_at = time.monotonic()
