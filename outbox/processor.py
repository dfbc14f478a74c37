"""One consumer's batch: locks, effects, inbox rows and dead letters in a single transaction."""

import hashlib
import logging
import traceback
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from outbox import clock
from outbox.buffer import atomic
from outbox.context import building, following
from outbox.delivery import Delivery
from outbox.errors import LateEvent
from outbox.generations import Held, hold
from outbox.ids import new_id
from outbox.inbox import Claim, Inbox, Key
from outbox.item import Item, read_item, stored_record
from outbox.kafka import Record
from outbox.models import DeadLetter, Outcome, ParkCause, WaitingEvent
from outbox.registry import Consumer, Route

logger = logging.getLogger(__name__)

_HOW_IT_DIED = ["cause", "error", "traceback", "fingerprint", "attempts", "died_at"]


class Processor:
    """Runs the records of one consumer, each event's effect once, in order per key.

    building  the generation to build; None works on the one that is live, asked in each transaction
    """

    def __init__(self, consumer: Consumer, *, building: int | None = None) -> None:
        self.consumer = consumer
        self._building = building
        self._condemned: dict[UUID, tuple[Exception, int]] = {}
        self._suspect: UUID | None = None

    def run(self, records: Iterable[Record]) -> None:
        """Move past these records, in one transaction: all of it commits, or nothing.

        An event known to the inbox has no effect; of a parked key, it is put to wait; without a handler,
        it is passed; unreadable or condemned, it becomes a dead letter and parks its key. Any other
        failure is raised, and the records can be run again.
        """
        now = clock.now(using=self.consumer.using)
        items: dict[UUID, Item] = {}
        for record in records:
            item = self.read(record, now=now)
            items.setdefault(item.inbox_id, item)
        self._suspect = next(iter(items), None)
        batch = Batch(self.consumer, self._condemned)
        try:
            with atomic(using=self.consumer.using), self._publishing():
                batch.run([*items.values()], hold(self.consumer, building=self._building))
        except BaseException:
            # Of the events that waited behind a gap, one that this record released may be the guilty one.
            self._suspect = batch.handling or self._suspect
            raise
        self.pardon()

    def _publishing(self) -> AbstractContextManager[None]:
        return nullcontext() if self._building is None else building()

    def read(self, record: Record, *, now: datetime | None = None) -> Item:
        """A record as this consumer understands it."""
        return read_item(record, consumer=self.consumer, now=now or clock.now(using=self.consumer.using))

    def condemn(self, error: Exception, *, attempts: int) -> None:
        """Have the event that the last run, of a single record, failed at dead-lettered in the next."""
        if self._suspect is not None:
            self._condemned[self._suspect] = (error, attempts)

    def pardon(self) -> None:
        """Condemn nothing any more: it is done, or the records went to an instance that judges for itself."""
        self._condemned.clear()


class Batch:
    """The state of one transaction: locked progress, parked keys, and the inbox rows to be."""

    def __init__(self, consumer: Consumer, condemned: dict[UUID, tuple[Exception, int]]) -> None:
        self._consumer = consumer
        self._condemned = condemned
        self._claims: dict[UUID, Claim] = {}
        self._numbers: dict[Key, int] = {}
        self._moved: set[Key] = set()
        self._parked: dict[Key, ParkCause] = {}
        self._gathered: dict[Callable[[Any], None], list[Delivery[Any]]] = {}
        self._gatherers: dict[Key, Callable[[Any], None]] = {}
        self._alone = False
        self.handling: UUID | None = None

    def run(self, items: list[Item], generation: Held) -> None:
        """Lock, handle each new event in order, claim."""
        self._alone = len(items) == 1
        self.begin({item.key for item in items if item.key is not None}, generation)
        known = self._inbox.known([item.inbox_id for item in items])
        for item in items:
            if item.inbox_id not in known:
                self._take(item)
        self.finish()

    def begin(self, keys: set[Key], generation: Held, *, release: bool = False) -> None:
        """Lock these keys. `release` keeps others from appending to what waits behind them."""
        self._inbox = Inbox(
            consumer=self._consumer.name,
            generation=generation.number,
            using=self._consumer.using,
            inherits=generation.inherits,
        )
        self._numbers = self._inbox.lock_keys(keys)
        self._parked = self._inbox.parked(keys, alone=release)

    def finish(self) -> None:
        """Write down how far the keys have come, and what became of the events."""
        self._hand_over()
        self._inbox.advance({key: self._numbers[key] for key in self._moved})
        self._inbox.claim([*self._claims.values()])

    def _take(self, item: Item) -> None:
        cause = None if item.key is None else self._parked.get(item.key)
        if item.key is not None and cause is ParkCause.GAP and self._continues(item):
            outcome = self._handle(item)
            self._claim(item, outcome)
            if outcome is not Outcome.DEAD:
                self._drain(item.key)
        elif cause is not None:
            self._wait(item)
        elif self._leaves_gap(item):
            self._park(item, ParkCause.GAP)
            self._wait(item)
        else:
            self._claim(item, self._handle(item))

    def _claim(self, item: Item, outcome: Outcome) -> None:
        self._claims[item.inbox_id] = item.claim(outcome)

    def _continues(self, item: Item) -> bool:
        """Whether this is the very next event of its key."""
        return item.key is not None and item.number == self._numbers.get(item.key, 0) + 1

    def _leaves_gap(self, item: Item) -> bool:
        """Whether events of its key are missing before it. The first sight of a key is its baseline."""
        if item.key is None or item.number is None or item.key not in self._numbers:
            return False
        return item.number > self._numbers[item.key] + 1

    def _handle(self, item: Item) -> Outcome:
        """Run the event's effect, or write its dead letter."""
        error, attempts = self._condemned.get(item.inbox_id, (item.fault, 1))
        if error is None and self._is_late(item):
            error = LateEvent(
                f"Event {item.number} of key {item.key and item.key[1]!r} came when"
                f" {self._numbers[item.key or ('', '')]} had been processed."
            )
        if error is not None:
            self._bury(item, error, attempts)
            return Outcome.DEAD
        if item.key is not None and item.number is not None:
            self._numbers[item.key] = max(item.number, self._numbers.get(item.key, 0))
            self._moved.add(item.key)
        if item.route is None:
            return Outcome.UNHANDLED
        self._call(item, item.route)
        return Outcome.PROCESSED

    def _call(self, item: Item, route: Route) -> None:
        """Give the event to its handler, or put it on the handler's list."""
        delivery = item.delivery(generation=self._inbox.generation)
        if item.key is not None and self._gatherers.get(item.key, route.handler) != route.handler:
            self._hand_over()  # an earlier event of the key is on another handler's list
        if route.batched and not self._alone:
            self._gathered.setdefault(route.handler, []).append(delivery)
            if item.key is not None:
                self._gatherers[item.key] = route.handler
            return
        self.handling = item.inbox_id
        if route.batched:  # by itself, so that a failure has one event to blame, also of those a gap releases
            route.handler([delivery])
        else:
            with following(delivery):
                route.handler(delivery)
        self.handling = None

    def _hand_over(self) -> None:
        """Call the handlers that take lists with what was gathered for them."""
        gathered, self._gathered = self._gathered, {}
        self._gatherers.clear()
        for handler, deliveries in gathered.items():
            handler(deliveries)

    def _is_late(self, item: Item) -> bool:
        """Whether its place in the key has been passed, without its id being known."""
        if item.key is None or item.number is None:
            return False
        return item.number <= self._numbers.get(item.key, 0)

    def _wait(self, item: Item) -> None:
        """Keep the event until its key is released."""
        assert item.key is not None  # noqa: S101  (only a key is parked)
        WaitingEvent.objects.using(self._consumer.using).create(
            consumer=self._inbox.consumer,
            generation=self._inbox.generation,
            key=item.key[1],
            received_at=item.received_at,
            **item.copy(),
        )
        self._claim(item, Outcome.PARKED)

    def _park(self, item: Item, cause: ParkCause) -> None:
        if item.key is not None:
            self._inbox.park(item.key, cause=cause, event_id=item.inbox_id)
            self._parked[item.key] = cause

    def _bury(self, item: Item, error: Exception, attempts: int) -> None:
        """Write the dead letter and park its key."""
        now, trace = clock.now(using=self._consumer.using), "".join(traceback.format_exception(error))
        letter = DeadLetter(
            id=new_id(now),
            consumer=self._inbox.consumer,
            generation=self._inbox.generation,
            key=None if item.key is None else item.key[1],
            occurred_at=item.occurred_at,
            cause=type(error).__name__,
            error=_storable(str(error)),
            traceback=_storable(trace),
            fingerprint=fingerprint(error),
            attempts=attempts,
            died_at=now,
            **item.copy(),
        )
        # Once more, when it was replayed, or when its inbox row has been pruned: the record's copy stays.
        DeadLetter.objects.using(self._consumer.using).bulk_create(
            [letter],
            update_conflicts=True,
            unique_fields=["consumer", "generation", "event_id"],
            update_fields=[*_HOW_IT_DIED, "state", "settled_at"],
        )
        if item.key is not None and item.number is not None and item.key not in self._numbers:
            self._numbers[item.key] = item.number - 1  # the key has been seen, from here on
            self._moved.add(item.key)
        self._park(item, ParkCause.DEAD_LETTER)
        logger.error(
            "%s: dead letter, %s %s at %s/%s/%s: %s: %s",
            self._consumer.name,
            item.type or "record",
            item.inbox_id,
            item.record.topic,
            item.record.partition,
            item.record.offset,
            type(error).__name__,
            error,
        )

    def _drain(self, key: Key) -> None:
        """Run what waited behind the gap that has just closed, up to the next gap or dead letter."""
        while (stored := self._next_waiting(key)) is not None:
            if self._run_waiting(stored) is Outcome.DEAD:
                return
        if not self._waiting(key).exists():
            self._unpark(key)

    def _waiting(self, key: Key) -> QuerySet[WaitingEvent]:
        return WaitingEvent.objects.using(self._consumer.using).filter(
            consumer=self._inbox.consumer, generation=self._inbox.generation, topic=key[0], key=key[1]
        )

    def _next_waiting(self, key: Key) -> WaitingEvent | None:
        """The first that need not wait: the next number, one that is late, or one that has no number."""
        next_number = self._numbers.get(key, 0) + 1
        return self._waiting(key).filter(Q(number=None) | Q(number__lte=next_number)).order_by("id").first()

    def _run_waiting(self, stored: WaitingEvent) -> Outcome:
        """Handle an event that has waited."""
        item = read_item(stored_record(stored), consumer=self._consumer, now=stored.received_at)
        outcome = self._handle(item)
        stored.delete()
        if item.inbox_id in self._claims:  # it came, and was put to wait, in this very batch
            self._claim(item, outcome)
        else:
            self._inbox.settle(item.inbox_id, outcome)
        return outcome

    def _unpark(self, key: Key) -> None:
        self._inbox.unpark(key)
        del self._parked[key]


def fingerprint(error: BaseException) -> str:
    """The same for errors of one type raised at one place, whatever their message."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].name}" if frames else ""
    return hashlib.sha256(f"{type(error).__qualname__}@{place}".encode()).hexdigest()[:16]


def _storable(text: str) -> str:
    """Text that PostgreSQL can hold."""
    return text.replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
