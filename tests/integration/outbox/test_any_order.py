"""All that may happen to events on their way to their effects, in any order, against what must come of it.

The worker, the inbox, rebuilding and what operators do are the real ones, on a real PostgreSQL. Only Kafka is
ours, so that hypothesis can choose what is delivered, repeated, lost and late, and to whom.
"""

import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from outbox import (
    Consumer,
    Delivery,
    Discard,
    NonRecoverable,
    Recoverable,
    following,
    handles,
    handles_batch,
    publish,
    registry,
)
from outbox import consumer as consuming
from outbox.consumer import ConsumerWorker
from outbox.errors import RepairRefused
from outbox.generations import live_generation, take_building, take_live
from outbox.kafka import Placement, Record
from outbox.models import DeadLetter, InboxEntry, LetterState, OutboxEvent, ParkedKey, WaitingEvent
from outbox.repair import keys, letters
from outbox.repair.acts import Operator, Report, Result
from outbox.repair.releasing import go_on_with_all
from outbox.succession import begin, clear_away
from outbox.succession import replace as swap
from tests.engine import NOTES, Noted, Unheard
from tests.integration.at_once import at_once
from tests.integration.compensation.world import as_record
from tests.integration.outbox.passing import Passing

NAMES = "abcd"
PARTITIONS = 2
BAD = b'{"about": 7}'
SOMEBODY = Operator("somebody", reason="so that it ends well")
# Of one worker at a time: another one would take its records.
making = threading.Lock()
# An instance that has not come to the end of a few records by then never will.
PATIENCE = 120.0
EXAMPLES = int(os.environ.get("EVENTSITE_ORDERS", "12"))

some = st.integers(min_value=0, max_value=1_000)
few = st.integers(min_value=0, max_value=6)
Told = Callable[[set[Placement]], None]
ways = st.sampled_from(["replay", "replay", "correct", "discard"])


class Refused(NonRecoverable):
    """The domain says no."""


class Unwanted(NonRecoverable):
    """Nobody wants it."""


class Away(Recoverable):
    """Something is away for a moment."""


class Killed(BaseException):
    """The process is gone."""


class Single(Noted, frozen=True, kw_only=True):
    """An event with a handler that takes one at a time; the others come in lists."""

    type = "tests.Single.v1"


def insist(act: Callable[[], Report]) -> Report:
    """What an operator does is asked for again when something is away, which nothing is for long."""
    while True:
        with suppress(Away):
            return act()


@dataclass
class Service:
    """A consumer that writes down each event it is given, and answers it, unless it is a projection."""

    is_projection: bool
    refused: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)
    deadly: set[str] = field(default_factory=set)
    passing: dict[str, list[Exception]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.consumer = Consumer(
            name=f"service-{uuid4().hex[:8]}",
            sync_delay_limit=timedelta(seconds=5),
            projection=self if self.is_projection else None,
            on_error={Unwanted: Discard("nobody wants it")},
        )
        handles(self.consumer, Single)(lambda delivery: self.hear([delivery]))
        handles_batch(self.consumer, Noted)(self.hear)

    def hear(self, deliveries: list[Any]) -> None:
        for one in deliveries:
            self._hear(one)

    def take_over(self, *, old: int, new: int, start: datetime | None, end: datetime) -> None:
        raise AssertionError("nothing is gone from this Kafka")

    def discard(self, *, generation: int, limit: int) -> int:
        with connection.cursor() as sql:
            sql.execute(
                "DELETE FROM heard WHERE consumer = %s AND generation = %s", [self.consumer.name, generation]
            )
            return int(sql.rowcount)

    def _hear(self, one: Delivery[Noted]) -> None:
        text = one.event.text
        with connection.cursor() as sql:
            sql.execute(
                "INSERT INTO heard (consumer, generation, event_id, key, number) VALUES (%s, %s, %s, %s, %s)",
                [self.consumer.name, one.generation, one.id, one.key, one.number],
            )
        if text in self.deadly:
            self.deadly.discard(text)
            raise Killed
        if faults := self.passing.get(text):
            raise faults.pop()
        if text in self.unwanted:
            raise Unwanted(text)
        if text in self.refused:
            raise Refused(f"{text} is refused")
        if not self.is_projection:
            with following(one):
                publish(Unheard(about=f"answers of {self.consumer.name}", text=str(one.id)))


class Deliveries:
    """What Kafka brings to one instance: these records, and no more.

    taken  its partition goes to another member at the second poll
    """

    def __init__(self, records: list[Record], stop: threading.Event, *, taken: bool) -> None:
        self._records, self._stop, self._taken = records, stop, taken
        self._left = {(one.topic, one.partition): one.offset + 1 for one in records}
        self._places = set(self._left)
        self._begun = False
        self._deadline = time.monotonic() + PATIENCE

    def __call__(self, kafka: object, *, on_gained: Told, on_lost: Told, **_: object) -> Any:
        """As the worker makes its reader."""
        self._gained, self._lost = on_gained, on_lost
        return self

    def poll(self, *, limit: int, timeout: float) -> list[Record]:
        if not self._begun:
            self._begun = True
            self._gained(set(self._left))
            return self._records
        if self._taken:
            self._lost(self._places)
            self._left.clear()
            self._places = set()
        if not self._left:
            self._stop.set()
        assert time.monotonic() < self._deadline, f"an instance comes to no end: {self._left}"
        time.sleep(min(timeout, 0.02))
        return []

    def commit(self, offsets: dict[Placement, int]) -> None:
        for place, offset in offsets.items():
            if self._left.get(place, offset + 1) <= offset:
                del self._left[place]

    def assignment(self) -> set[Placement]:
        return self._places

    def nothing(self, *_: object) -> dict[Placement, int]:
        return {}

    hold = release = close = take_ends = take_losses = known_ends = nothing


@dataclass(frozen=True, slots=True)
class Known:
    """What the consumer's database says of its live generation."""

    heard: dict[str, list[tuple[UUID, int]]]
    outcomes: dict[UUID, str]
    open: dict[UUID, DeadLetter]
    waiting: set[UUID]
    parked: dict[str, ParkedKey]


class AnyOrder(RuleBasedStateMachine):
    """One consumer of two partitions, on which everything happens."""

    is_projection = False

    @initialize()
    def start(self) -> None:
        self.declared = dict(registry._consumers)
        self.service = Service(self.is_projection)
        self.who = self.service.consumer
        self.prefix = uuid4().hex[:8]
        self.log: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.passing = Passing()
        self.position = [0] * PARTITIONS
        self.handed = [0] * PARTITIONS
        self.texts: list[str] = []
        self.ids: dict[str, UUID] = {}
        self.late: set[UUID] = set()
        self.given_up: set[UUID] = set()

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4), single=st.booleans(), how=some)
    def publish(self, name: str, count: int, single: bool, how: int) -> None:
        """Some events of one key; now and then the transaction is rolled back, or a record is damaged."""
        with transaction.atomic():
            made = []
            for _ in range(count):
                text = f"{name}-{len(self.texts)}"
                self.texts.append(text)
                kind = Single if single else Noted
                made.append(publish(kind(about=f"{self.prefix}-{name}", text=text)))
                self.ids[text] = made[-1]
            if how % 7 == 0:
                transaction.set_rollback(True)
                return
        number = NAMES.index(name) % PARTITIONS
        log = self.log[number]
        for event in OutboxEvent.objects.filter(id__in=made).order_by("position"):
            record = replace(as_record(event), topic=NOTES.name, partition=number, offset=len(log))
            log.append(replace(record, value=BAD) if how % 11 == 1 else record)
            self.passing.publish(event)

    @rule(partition=st.integers(0, PARTITIONS - 1), count=st.integers(1, 8), again=few, lost=some, taken=some)
    def deliver(self, partition: int, count: int, again: int, lost: int, taken: int) -> None:
        """What comes next, with some of what came before; in half of the cases one record is lost.

        In a third of them the partition goes to another member, which begins again where this one did.
        """
        at, log = self.position[partition], self.log[partition]
        new = log[at : at + count]
        if new and lost % 2 == 0:
            new = [one for place, one in enumerate(new) if place != lost % len(new)]
        if self.work([*log[max(0, at - again) : at], *new], taken=taken % 3 == 0):
            self.position[partition] = min(at + count, len(log))

    @rule(partition=st.integers(0, PARTITIONS - 1), first=few, second=few)
    def overlap(self, partition: int, first: int, second: int) -> None:
        """Two owners of one partition at the same time: one was frozen while the other took over."""
        if self.service.deadly or not first or not second:
            return
        at, log = self.position[partition], self.log[partition]
        found = at_once(
            lambda: self.work(log[max(0, at - 2) : at + first]),
            lambda: self.work(log[max(0, at - 4) : at + second]),
        )
        assert found == [True, True]
        self.position[partition] = min(at + max(first, second), len(log))

    @rule(which=some, how=st.sampled_from(["refuse", "refuse", "kill", "discard", "away", "fail", "heal"]))
    def trouble(self, which: int, how: str) -> None:
        """An event that is refused or discarded from now on, kills its process once, or fails for a while.

        Or all is well again.
        """
        if how == "heal":
            self.service.refused.clear()
        elif self.texts:
            text = self.texts[-1 - which % min(8, len(self.texts))]
            if how == "away":
                self.service.passing[text] = [Away(), Away()]
            elif how == "fail":
                self.service.passing[text] = [ValueError(text)]
            elif how == "discard":
                self.service.unwanted.add(text)
                self.given_up.add(self.ids[text])
            else:
                (self.service.refused if how == "refuse" else self.service.deadly).add(text)

    @rule(which=some, how=ways, alone=st.booleans())
    def act(self, which: int, how: str, alone: bool) -> None:
        """An operator does something about a dead letter; what waits behind it may be left to workers."""
        if found := sorted(self.known().open.values(), key=lambda letter: letter.died_at):
            self.settle(found[which % len(found)], how, alone=alone)

    @rule(count=st.integers(1, 2))
    def go_on(self, count: int) -> None:
        """Workers go on with what was left to them; what kills one of them does so once."""
        if count > 1 and not self.service.deadly:
            assert not [one for one in at_once(*[go_on_with_all] * count) if isinstance(one, Exception)]
        else:
            with suppress(Killed):
                go_on_with_all()

    @rule(which=some, one=ways, other=ways)
    def act_at_once(self, which: int, one: str, other: str) -> None:
        """Two operators do something about the same one, which may have been settled before."""
        found = DeadLetter.objects.filter(**self.mine()).order_by("died_at")
        if not found or self.service.deadly:
            return
        letter = found[which % len(found)]
        results = at_once(lambda: self.settle(letter, one), lambda: self.settle(letter, other))
        assert not [result for result in results if isinstance(result, Exception)], results
        if letter.state != LetterState.OPEN:
            assert set(results) <= {Result.NOTHING, None}
        elif Result.DIED not in results:
            assert Result.NOTHING in results or None in results, results

    @rule(which=some)
    def release(self, which: int) -> None:
        """An operator gives up what a key waits for."""
        known = self.known()
        parked = sorted(known.parked.items())
        if parked and not self.service.deadly:
            key, row = parked[which % len(parked)]
            missing = self.passing.missing(key, come=known.outcomes, waiting=known.waiting)
            with suppress(RepairRefused):
                insist(lambda: keys.release(parked_id=row.id, operator=SOMEBODY))
                self.passing.give_up(key, missing)

    @precondition(lambda self: self.is_projection)
    @rule()
    def rebuild(self) -> None:
        """A new generation is built from the beginning, and replaces the live one."""
        self.service.deadly.clear()
        new = begin(self.who)
        for partition, log in enumerate(self.log):
            assert self.work(log[: self.handed[partition]], building=new)
        with transaction.atomic():
            take_live(self.who.name, using="default")
            take_building(self.who.name, new, using="default")
            swap(self.who, new=new, before=None, operator=SOMEBODY)
        clear_away(self.who, forget_group=lambda _: None)
        self.passing.begin_again()

    @invariant()
    def everything_is_accounted_for(self) -> None:
        known = self.known()
        heard = Counter(event_id for row in known.heard.values() for event_id, _ in row)
        assert set(heard.values()) <= {1}
        for event_id, outcome in known.outcomes.items():
            assert (heard[event_id] == 1) == (outcome == "processed"), (event_id, outcome)
            assert (event_id in known.waiting) == (outcome == "parked"), (event_id, outcome)
            assert (event_id in known.open) == (outcome == "dead"), (event_id, outcome)
        assert set(heard) <= set(known.outcomes)
        for key, row in known.heard.items():
            numbers = [number for event_id, number in row if event_id not in self.late]
            assert numbers == sorted(set(numbers))
            behind = self.passing.behind(key, until=max(numbers, default=0))
            assert {known.outcomes.get(event_id) for event_id in behind} <= {"processed", "discarded"}
        for letter in known.open.values():
            if not self.may_be_late(letter):
                number = letter.number or 0
                assert letter.cause != "LateEvent", letter
                assert not [after for _, after in known.heard[str(letter.key)] if after > number], letter

    def teardown(self) -> None:
        try:
            if hasattr(self, "declared"):
                self.end_well()
        finally:
            registry._consumers.clear()
            registry._consumers.update(self.declared)

    def end_well(self) -> None:
        """What was lost comes at last, and what failed is replayed: every event has its one effect."""
        for troubles in (self.service.refused, self.service.unwanted, self.service.deadly):
            troubles.clear()
        self.service.passing.clear()
        for log in self.log:
            for at in range(0, len(log), 5):
                assert self.work(log[at : at + 5])
                self.everything_is_accounted_for()
        while (found := self.known().open) or self.known().parked:
            before = len(found), len(self.known().waiting)
            for letter in found.values():
                with suppress(RepairRefused):
                    self.settle(letter, "correct" if letter.cause == "ContractViolation" else "replay")
            go_on_with_all()
            known = self.known()
            assert (len(known.open), len(known.waiting)) < before, (known.open, known.parked)
        known = self.known()
        heard = {event_id for row in known.heard.values() for event_id, _ in row}
        published = set(self.passing.numbers)
        assert published - self.given_up <= heard <= published
        assert set(known.outcomes) == published
        assert not known.waiting
        self.everything_is_accounted_for()
        if not self.is_projection:
            answers = OutboxEvent.objects.filter(key=f"answers of {self.who.name}").order_by("number")
            told = [json.loads(bytes(answer.payload))["text"] for answer in answers]
            assert Counter(told) == Counter(map(str, heard))

    def work(self, records: list[Record], *, building: int | None = None, taken: bool = False) -> bool:
        """Have an instance work on these; whether it did to the end, and was not killed.

        taken  it loses them once it has begun
        """
        if not records:
            return True
        stop = threading.Event()
        with making, pytest.MonkeyPatch.context() as patch:
            patch.setattr(consuming, "GroupReader", Deliveries(records, stop, taken=taken))
            worker = ConsumerWorker(self.who, stop=stop, building=building)
            if building is None:
                last = records[-1]
                self.handed[last.partition] = max(self.handed[last.partition], last.offset + 1)
                self.passing.hand_out(records)
        try:
            worker.run()
        except Killed:
            return False
        if building is None and not taken:
            self.passing.settle(records)
        return not taken

    def settle(self, letter: DeadLetter, how: str, *, alone: bool = False) -> Result | None:
        """What came of it; None when it was refused, or the process killed."""
        late = self.may_be_late(letter)
        event = OutboxEvent.objects.get(id=letter.event_id)
        try:
            if how == "discard":
                result = insist(
                    lambda: letters.discard(letter_id=letter.id, operator=SOMEBODY, alone=alone)
                ).result
                if result is Result.DISCARDED:
                    self.given_up.add(letter.event_id)
                return result
            if late:
                self.late.add(letter.event_id)
            data = bytes(event.payload) if how == "correct" else None
            return insist(
                lambda: letters.replay(
                    letter_id=letter.id, operator=SOMEBODY, data=data, late=late, alone=alone
                )
            ).result
        except (Killed, RepairRefused):
            return None

    def may_be_late(self, letter: DeadLetter) -> bool:
        """Whether the place of its event may have been passed."""
        return self.passing.may_be_late(letter.event_id)

    def mine(self) -> dict[str, Any]:
        """Which rows are the consumer's."""
        return {"consumer": self.who.name, "generation": live_generation(self.who.name)}

    def known(self) -> Known:
        mine = self.mine()
        heard: dict[str, list[tuple[UUID, int]]] = defaultdict(list)
        with connection.cursor() as sql:
            sql.execute(
                "SELECT key, event_id, number FROM heard WHERE consumer = %s AND generation = %s ORDER BY id",
                list(mine.values()),
            )
            for key, event_id, number in sql.fetchall():
                heard[key].append((event_id, number))
        return Known(
            heard,
            dict(InboxEntry.objects.filter(**mine).values_list("event_id", "outcome")),
            {one.event_id: one for one in DeadLetter.objects.filter(**mine, state=LetterState.OPEN)},
            set(WaitingEvent.objects.filter(**mine).values_list("event_id", flat=True)),
            {one.key: one for one in ParkedKey.objects.filter(**mine)},
        )


class AnyOrderOfAProjection(AnyOrder):
    """The same of one that is rebuilt now and then."""

    is_projection = True


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("machine", [AnyOrder, AnyOrderOfAProjection])
def test_every_event_has_its_one_effect_in_order_whatever_happens(machine: type[AnyOrder]) -> None:
    with connection.cursor() as sql:
        sql.execute(
            "CREATE TABLE heard (id bigint GENERATED ALWAYS AS IDENTITY, consumer text, generation int,"
            " event_id uuid, key text, number bigint)"
        )
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        with connection.cursor() as sql:
            sql.execute("DROP TABLE heard")
