"""One transaction of an operator's act, through the same code as consuming."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from django.db.models import F, QuerySet

from outbox import clock
from outbox.aside import fingerprint, storable
from outbox.batch import Batch
from outbox.bounded import Bounded
from outbox.buffer import atomic
from outbox.calling import Watch
from outbox.config import config
from outbox.context import building as while_building
from outbox.context import consuming
from outbox.errors import HandlerTimedOut, RepairRefused
from outbox.generations import Held, hold
from outbox.inbox import Key
from outbox.item import Item, decode_headers, read_item, stored_record
from outbox.models import DeadLetter, LetterState, Outcome, ParkCause, ParkedKey, WaitingEvent
from outbox.policies import Park, Retry, Verdict, Wait, ending
from outbox.recovery import Family, backoff, family_of, policy_for
from outbox.registry import Consumer
from outbox.repair.acts import Report, Result
from outbox.repair.behind import counted, missing_before
from outbox.sessions import enter_batch
from outbox.watchdog import Watchdog, idle_limit

CONTENTION_RETRIES = 5
# What is away is waited for by its policy.
_NOT_OF_AN_EVENT = {Family.CONTENTION, Family.FATAL}

T = TypeVar("T")


class Rerun(Batch):
    """A batch of what was set aside: a dead letter, and then what waits behind it, in order.

    most  how many events may run in this transaction
    died  why an event became a dead letter in it
    """

    def __init__(
        self, consumer: Consumer, condemned: dict[UUID, Verdict], watch: Watch, held: Held, *, most: int
    ) -> None:
        super().__init__(consumer, condemned, watch, until=time.monotonic() + config().batch_seconds)
        self._alone = True  # whatever fails has one event to blame
        self._held, self._most = held, most
        self.begun: list[UUID] = []
        self.ran = 0
        self.died: Exception | None = None

    @property
    def consumer_name(self) -> str:
        """Whose batch it is."""
        return self._consumer.name

    @property
    def using(self) -> str:
        """The consumer's database."""
        return self._consumer.using

    @property
    def generation(self) -> int:
        """The one it works on."""
        return self._held.number

    def take(self, key: Key | None) -> ParkedKey | None:
        """Keep the key from everybody else until the commit. How it is parked, if it is."""
        self.begin(set() if key is None else {key}, self._held, release=True)
        return None if key is None or key not in self._parked else self._row(key).get()

    def receive(self, item: Item) -> tuple[bool, Outcome]:
        """Take an event as if Kafka had delivered it. Whether it was known, and what has become of it."""
        self.begin(set() if item.key is None else {item.key}, self._held)
        if (outcome := self._inbox.outcome_of(item.inbox_id)) is not None:
            return True, outcome
        self._take(item)
        self.finish()
        return False, Outcome(self._claims[item.inbox_id].outcome)

    def rerun(self, letter: DeadLetter, *, data: bytes | None, late: bool) -> Outcome:
        """Run a dead letter's event, with this data in the place of its own.

        late  also when later events of its key have been processed
        """
        item = self._item(letter, data)
        if item.fault is not None:
            self._condemned[letter.event_id] = Verdict(item.fault, letter.attempts + 1, Park())
        own_id, item = item.inbox_id, replace(item, inbox_id=letter.event_id, may_be_late=late)
        repeated = own_id != letter.event_id and bool(self._inbox.known([own_id]))
        outcome = Outcome.PROCESSED if repeated else self._handle(item)
        if outcome is Outcome.DEAD:
            return outcome
        if own_id != letter.event_id and not repeated:  # it could not be read when it was set aside
            self._claims[own_id] = replace(item, inbox_id=own_id).claim(outcome)
        state = LetterState.DISCARDED if outcome is Outcome.DISCARDED else LetterState.REPLAYED
        self._settle(letter, state, outcome, correction=data)
        return outcome

    def give_up(self, letter: DeadLetter) -> None:
        """Go on as if the letter's event had never come."""
        if letter.key is not None:
            self._pass((letter.topic, letter.key), letter.number, decode_headers(letter.headers))
        self._settle(letter, LetterState.DISCARDED, Outcome.DISCARDED)

    def missing(self, key: Key) -> range:
        """The numbers that the key waits for."""
        reached = self._numbers.get(key, 0)
        waiting = self._waiting(key).filter(number__gt=reached).order_by("number")
        return missing_before(waiting.values_list("number", flat=True).first(), reached)

    def skip(self, key: Key, missing: range) -> None:
        """Give up the numbers that the key waits for."""
        if missing:
            self._reach(key, missing[-1])

    def drain(self, key: Key) -> Bounded:
        """Run what waits behind the key, in order; how many still wait.

        Up to the next gap or dead letter, until so many have run as may, or until its time is over: others go
        on with a key that is `released`, and what comes meanwhile waits behind the rest.
        """
        self._aside.flush()
        while (stored := self._next_waiting(key)) is not None:
            if len(self.begun) >= self._most or self._is_over():
                break
            if self._run_waiting(stored) is Outcome.DEAD:
                break
            self.ran += 1
        left = self._waiting(key)
        if self.died is None and not left.exists():
            if key in self._parked:
                self._unpark(key)
            return Bounded(0)
        if self.died is None:
            first = self._next_waiting(key)
            cause = ParkCause.GAP if first is None else ParkCause.RELEASED
            first = first or left.order_by(F("number").asc(nulls_last=True), "id").first()
            assert first is not None  # noqa: S101  (something is left)
            self._inbox.park({key: (cause, first.event_id)})
        return counted(left)

    def count_waiting(self, key: Key | None) -> Bounded:
        """How many events wait behind the key."""
        return Bounded(0) if key is None else counted(self._waiting(key))

    def tell(self, result: Result, done: str, *, waiting: Bounded) -> Report:
        """What came of this transaction: what was done first, and then what waited behind it."""
        report = Report(result, done, ran=self.ran, waiting=waiting.count, waiting_more=waiting.more)
        if self.died is None:
            return report
        error = storable(f"{type(self.died).__name__}: {self.died}")
        return replace(report, error=error, fingerprint=fingerprint(self.died))

    def _item(self, letter: DeadLetter, data: bytes | None) -> Item:
        record = stored_record(letter)
        record = record if data is None else replace(record, value=data)
        return read_item(record, consumer=self._consumer, now=clock.now(using=self._consumer.using))

    def _settle(
        self, letter: DeadLetter, state: LetterState, outcome: Outcome, *, correction: bytes | None = None
    ) -> None:
        letter.state, letter.correction = state, correction
        letter.settled_at = clock.now(using=self._consumer.using)
        letter.save(using=self._consumer.using, update_fields=["state", "settled_at", "correction"])
        self._inbox.settle(letter.event_id, outcome)
        self._outcomes.settle(letter.type, outcome, letter.occurred_at)

    def _row(self, key: Key) -> QuerySet[ParkedKey]:
        return ParkedKey.objects.using(self._consumer.using).filter(
            consumer=self._consumer.name, generation=self.generation, topic=key[0], key=key[1]
        )

    def _next_waiting(self, key: Key) -> WaitingEvent | None:
        if key in self._numbers:
            return super()._next_waiting(key)
        # The first sight of a key is its baseline.
        return self._waiting(key).order_by(F("number").asc(nulls_last=True), "id").first()

    def _drain(self, key: Key, partition: int) -> None:
        self.drain(key)

    def _handle(self, item: Item) -> Outcome:
        self.begun.append(item.inbox_id)
        return super()._handle(item)

    def _bury(self, item: Item, verdict: Verdict) -> None:
        self.died = verdict.error
        super()._bury(item, verdict)


def carry_out(
    consumer: Consumer,
    work: Callable[[Rerun], T],
    *,
    building: int | None = None,
    attempts: int = 0,
    most: int | None = None,
    condemned: Mapping[UUID, Verdict] | None = None,
) -> T:
    """Do this in one transaction, tried again as consuming does, with what fails for good dead-lettered.

    Handlers have their limits here as well: nobody waits for the key of one that does not come back.
    What a recoverable error or contention does not let through is raised, and nothing has been done.

    building   the generation that is being built, if it is about that one
    attempts   how often the first event has been tried before
    most       how many events may run in it, if not as many as in a batch of the consumer
    condemned  what becomes of these events instead of being handled
    """
    most = config().consumer_batch if most is None else most
    with Watchdog(using=consumer.using, ends_process=False) as watchdog:
        watch = watchdog.watch(consumer)
        return _carry_out(
            consumer, work, watch, dict(condemned or {}), building=building, attempts=attempts, most=most
        )


def _carry_out(
    consumer: Consumer,
    work: Callable[[Rerun], T],
    watch: Watch,
    condemned: dict[UUID, Verdict],
    *,
    building: int | None,
    attempts: int,
    most: int,
) -> T:
    tries: Counter[UUID | None] = Counter()
    delays = backoff()
    while True:
        batch: Rerun | None = None
        try:
            with atomic(using=consumer.using), nullcontext() if building is None else while_building():
                enter_batch(limit=idle_limit(consumer), using=consumer.using)
                batch = Rerun(consumer, condemned, watch, hold(consumer, building=building), most=most)
                with consuming(consumer.name):
                    done = work(batch)
        except RepairRefused:
            raise
        except Exception as error:
            family, begun = family_of(error), [] if batch is None else batch.begun
            policy = policy_for(error, consumer.on_error, unknown_retries=config().unknown_retries)
            guilty = None if batch is None else batch.handling or (begun[0] if len(begun) == 1 else None)
            tries[guilty] += 1
            if family is Family.CONTENTION and tries[guilty] <= CONTENTION_RETRIES:
                time.sleep(next(delays))
            elif family in _NOT_OF_AN_EVENT or isinstance(policy, Wait) or guilty in condemned or not begun:
                raise
            elif guilty is None:
                most = 1  # to find out which one it is
            elif (
                isinstance(policy, Retry)
                and tries[guilty] < policy.times
                and not isinstance(error, HandlerTimedOut)  # whoever acts waits for it
            ):
                time.sleep(next(delays))
            else:
                before = attempts if guilty == begun[0] else 0
                condemned[guilty] = Verdict(error, before + tries[guilty], ending(policy))
        else:
            if building is None:
                batch.count()
            return done
