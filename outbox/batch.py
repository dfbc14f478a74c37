"""The state of one transaction of a consumer: what is locked, handled, set aside and claimed in it."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from outbox.aside import Aside
from outbox.calling import Calls, Watch
from outbox.decisions import as_decided
from outbox.envelope import sequence_of
from outbox.errors import LateEvent
from outbox.forgetting import mark_forgotten
from outbox.generations import Held
from outbox.inbox import Claim, Inbox, Key
from outbox.item import Item, read_item, stored_record
from outbox.kafka import Header, Record
from outbox.models import Outcome, ParkCause, WaitingEvent
from outbox.outcomes import Outcomes
from outbox.policies import Discard, Park, Verdict, declared_for, ending
from outbox.registry import Consumer

SUPERSEDED = "a later event of its key has been processed, and the topic is compacted"


class Batch:
    """The state of one transaction: locked progress, parked keys, and the inbox rows to be.

    until       by the monotonic clock, when no further event is begun; the first always is
    stopping    whether none is begun any more, as if that time had come
    is_due      whether events that waited can go on, and were not begun for want of time
    worked      the types of events that were given to their handlers
    """

    def __init__(
        self,
        consumer: Consumer,
        condemned: dict[UUID, Verdict],
        watch: Watch = nullcontext,
        *,
        until: float = math.inf,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._consumer = consumer
        self._compacted = consumer.compacted
        self._condemned = condemned
        self._calls = Calls(consumer, watch)
        self._until = until
        self._stopping = stopping
        self._has_begun = False
        self._claims: dict[UUID, Claim] = {}
        self._numbers: dict[Key, int] = {}
        self._moved: set[Key] = set()
        self._parked: dict[Key, ParkCause] = {}
        self._alone = False
        self._outcomes = Outcomes(consumer)
        self.is_due = False
        self.worked: set[str] = set()

    @property
    def handling(self) -> UUID | None:
        """The event that is in its handler's hands, or failed there."""
        return None if self._calls.handling is None else self._calls.handling[0]

    @property
    def handling_type(self) -> str:
        """Its type; nothing when there is none."""
        return "" if self._calls.handling is None else self._calls.handling[1]

    @property
    def has_new(self) -> bool:
        """Whether the inbox did not know one of the events."""
        return bool(self._claims)

    @property
    def oldest(self) -> datetime | None:
        """When the first event happened of those that were processed; None when none was."""
        return min(self._outcomes.occurred(self._claims.values()), default=None)

    def run(self, items: list[Item], generation: Held) -> Record | None:
        """Lock, handle each new event in order, claim. The record at which the time was over, if it was."""
        self._alone = len(items) == 1
        self.begin({item.key for item in items if item.key is not None}, generation)
        known = self._inbox.known([item.inbox_id for item in items])
        new = [item for item in items if item.inbox_id not in known]
        for item in items if known else ():
            if item.inbox_id in known:
                self._outcomes.repeat(item.type)
        left = None
        for item in self._as_decided(mark_forgotten(new, inbox=self._inbox)):
            if self._is_over():
                left = item.record
                break
            self._take(item)
        self.finish()
        return left

    def go_on(self, item: Item, generation: Held) -> None:
        """Run what waits behind a gap that has closed; the first of it is, or was, this item."""
        assert item.key is not None  # noqa: S101  (only a key is parked)
        self._alone = True  # whatever fails has one event to blame
        self.begin({item.key}, generation)
        if self._parked.get(item.key) is ParkCause.GAP:
            self._drain(item.key, item.record.partition)
        self.finish()

    def count(self) -> None:
        """Tell the metrics what was done: it has been committed."""
        self._outcomes.count(self._claims.values())

    def begin(self, keys: set[Key], generation: Held, *, release: bool = False) -> None:
        """Lock these keys. `release` keeps others from appending to what waits behind them."""
        self._is_building = generation.is_building
        self._inbox = Inbox(
            consumer=self._consumer.name,
            generation=generation.number,
            using=self._consumer.using,
            inherits=generation.inherits,
        )
        self._aside = Aside(self._inbox, using=self._consumer.using)
        self._numbers = self._inbox.lock_keys(keys)
        self._parked = self._inbox.parked(keys, alone=release)

    def finish(self) -> None:
        """Write down how far the keys have come, and what became of the events."""
        self._calls.hand_over()
        self._aside.flush()
        self._inbox.advance({key: self._numbers[key] for key in self._moved})
        self._inbox.claim([*self._claims.values()])

    def _as_decided(self, items: list[Item]) -> list[Item]:
        if not self._is_building or not items:
            return items
        return as_decided(items, consumer=self._consumer, building=self._inbox.generation)

    def _take(self, item: Item) -> None:
        cause = None if item.key is None else self._parked.get(item.key)
        if item.key is not None and cause is ParkCause.GAP and self._continues(item):
            outcome = self._handle(item)
            self._claim(item, outcome)
            if outcome is not Outcome.DEAD:
                self._drain(item.key, item.record.partition)
        elif cause is not None:
            self._wait(item)
        elif self._leaves_gap(item):
            self._park(item, ParkCause.GAP)
            self._wait(item)
        else:
            self._claim(item, self._handle(item))

    def _is_over(self) -> bool:
        return self._has_begun and (self._stopping() or time.monotonic() >= self._until)

    def _claim(self, item: Item, outcome: Outcome) -> None:
        self._claims[item.inbox_id] = item.claim(outcome)

    def _continues(self, item: Item) -> bool:
        """Whether this is the very next event of its key."""
        return item.key is not None and item.number == self._numbers.get(item.key, 0) + 1

    def _leaves_gap(self, item: Item) -> bool:
        """Whether events of its key are missing before it. The first sight of a key is its baseline, unless
        the topic has been read from its first record on.

        What is not there of a compacted topic may have been dropped for good: nothing is waited for.
        """
        if item.key is None or item.number is None or item.key[0] in self._compacted:
            return False
        reached = self._numbers.get(item.key)
        if reached is None:
            return item.number > 1 and item.key[0] in self._inbox.whole_topics
        return item.number > reached + 1

    def _handle(self, item: Item) -> Outcome:
        """Run the event's effect, or set it aside."""
        self._has_begun = True
        if item.given_up:
            if item.key is not None:
                self._pass(item.key, item.number, item.record.headers)
            return Outcome.DISCARDED
        verdict = self._condemned.get(item.inbox_id) or self._fault_of(item)
        if verdict is not None and isinstance(verdict.end, Park):
            self._bury(item, verdict)
            return Outcome.DEAD
        if item.key is not None and item.number is not None:
            self._reach(item.key, item.number)
        if verdict is not None and isinstance(verdict.end, Discard):
            self._aside.discard(item, verdict.error, reason=verdict.end.reason)
            return Outcome.DISCARDED
        if item.route is None:
            return Outcome.UNHANDLED
        self._calls.give(item, item.route, inbox=self._inbox, alone=self._alone)
        self.worked.add(item.type)
        return Outcome.PROCESSED

    def _pass(self, key: Key, number: int | None, headers: list[Header]) -> None:
        """Go on as if the event had been handled. Of an unreadable one its number counts where it fits."""
        claimed = sequence_of(headers) if number is None else number
        if claimed is not None and (number is not None or claimed == self._numbers.get(key, 0) + 1):
            self._reach(key, claimed)

    def _reach(self, key: Key, number: int) -> None:
        """The key has come to this number, if it has not come further."""
        self._numbers[key] = max(number, self._numbers.get(key, 0))
        self._moved.add(key)

    def _bury(self, item: Item, verdict: Verdict) -> None:
        """Write the event's dead letter and park its key."""
        self._aside.bury(item, verdict.error, attempts=verdict.attempts)
        if item.key is not None and item.number is not None and item.key not in self._numbers:
            self._reach(item.key, item.number - 1)  # the key has been seen, from here on
        self._park(item, ParkCause.DEAD_LETTER)

    def _fault_of(self, item: Item) -> Verdict | None:
        """What keeps the event from any handler."""
        fault: Exception | None = item.fault
        if fault is None and self._is_late(item):
            fault = LateEvent(
                f"Event {item.number} of key {item.key and item.key[1]!r} came when"
                f" {self._numbers[item.key or ('', '')]} had been processed."
            )
        if fault is None:
            return None
        declared = declared_for(fault, self._consumer.on_error)
        if declared is None and isinstance(fault, LateEvent) and item.record.topic in self._compacted:
            declared = Discard(SUPERSEDED)
        return Verdict(fault, 1, ending(declared or Park()))

    def _is_late(self, item: Item) -> bool:
        """Whether its place in the key has been passed, without its id being known."""
        if item.key is None or item.number is None or item.may_be_late:
            return False
        return item.number <= self._numbers.get(item.key, 0)

    def _wait(self, item: Item) -> None:
        """Keep the event until its key is released."""
        assert item.key is not None  # noqa: S101  (only a key is parked)
        self._aside.wait(item, key=item.key)
        self._claim(item, Outcome.PARKED)

    def _park(self, item: Item, cause: ParkCause) -> None:
        if item.key is not None:
            self._aside.park(item, key=item.key, cause=cause)
            self._parked[item.key] = cause

    def _drain(self, key: Key, partition: int) -> None:
        """Run what waited behind the gap that has closed, up to the next gap or dead letter, or to the time.

        Who reads the partition goes on with what is left. Of another one nobody would look for it. At the
        next gap the key is parked for that one.
        """
        self._aside.flush()
        while (stored := self._next_waiting(key)) is not None:
            if self._is_over() and stored.partition == partition:
                self.is_due = True
                return
            if self._run_waiting(stored) is Outcome.DEAD:
                return
        first = self._waiting(key).order_by("number").first()
        if first is None:
            self._unpark(key)
        else:
            self._inbox.park({key: (ParkCause.GAP, first.event_id)})

    def _waiting(self, key: Key) -> QuerySet[WaitingEvent]:
        return WaitingEvent.objects.using(self._consumer.using).filter(
            consumer=self._inbox.consumer, generation=self._inbox.generation, topic=key[0], key=key[1]
        )

    def _next_waiting(self, key: Key) -> WaitingEvent | None:
        """The first that need not wait: the next number, one that is late, or one that has no number.

        Of a compacted topic none need wait.
        """
        waiting = self._waiting(key)
        if key[0] not in self._compacted:
            waiting = waiting.filter(Q(number=None) | Q(number__lte=self._numbers.get(key, 0) + 1))
        return waiting.order_by("id").first()

    def _run_waiting(self, stored: WaitingEvent) -> Outcome:
        """Handle an event that has waited."""
        item = read_item(stored_record(stored), consumer=self._consumer, now=stored.received_at)
        [item] = self._as_decided([item])
        outcome = self._handle(item)
        stored.delete()
        if item.inbox_id in self._claims:  # it came, and was put to wait, in this very batch
            self._claim(item, outcome)
        else:
            self._inbox.settle(item.inbox_id, outcome)
            self._outcomes.settle(item.type, outcome, item.occurred_at)
        return outcome

    def _unpark(self, key: Key) -> None:
        self._inbox.unpark(key)
        del self._parked[key]
