"""Events of topics that are declared compacted: what Kafka has dropped is waited for by nobody."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from outbox import Consumer, Delivery, NonRecoverable, Topic, handles, registry, succession
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.consumer_models import DiscardedEvent
from outbox.kafka import Cluster, Record, records_between
from outbox.models import DeadLetter, InboxEntry, KeyProgress, ParkedKey, WaitingEvent
from outbox.processor import Processor
from outbox.repair import letters
from outbox.repair.acts import Operator
from tests.engine import (
    Noted,
    Running,
    new_topic,
    noted_on,
    numbers_by_key,
    record_of,
    send,
    until,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

COMPACTED = noted_on(Topic("compacted", partitions=1, retention=None, cleanup="compact"))
NOT_DECLARED_SO = noted_on(Topic("compacted", partitions=1, retention=None))


class Refused(NonRecoverable):
    """The domain says no."""


class Rows:
    """A projection without rows of its own."""

    def take_over(self, **_: object) -> None:
        return

    def discard(self, **_: object) -> int:
        return 0


class Service:
    """A consumer that remembers which numbers it has handled, and refuses some."""

    def __init__(self, event: type[Noted] = COMPACTED) -> None:
        registry._consumers.pop("latest", None)
        self.consumer = Consumer(name="latest", sync_delay_limit=timedelta(seconds=5), projection=Rows())
        self.heard: list[int | None] = []
        self.refuses: set[int | None] = set()
        handles(self.consumer, event)(self.handle)
        self.processor = Processor(self.consumer)

    def handle(self, delivery: Delivery[Noted]) -> None:
        if delivery.number in self.refuses:
            raise Refused
        self.heard.append(delivery.number)

    def outcomes(self) -> dict[int | None, str]:
        return dict(InboxEntry.objects.values_list("number", "outcome"))


@pytest.fixture(autouse=True)
def _consumers() -> Iterator[None]:
    before = dict(registry._consumers)
    yield
    registry._consumers.clear()
    registry._consumers.update(before)


def left_of(*numbers: int | None) -> list[Record]:
    """Of one key, what compaction has left."""
    return [record_of(COMPACTED(about="a"), number=number, offset=number or 0) for number in numbers]


def test_what_compaction_has_dropped_leaves_no_gap() -> None:
    service = Service()
    service.processor.run(left_of(1, 9))
    service.processor.run(left_of(15, 16))
    assert service.heard == [1, 9, 15, 16]
    assert set(service.outcomes().values()) == {"processed"}
    assert not ParkedKey.objects.exists()
    assert KeyProgress.objects.get().number == 16


def test_a_consumer_that_was_away_while_kafka_compacted_goes_on() -> None:
    options = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}
    topic = new_topic(partitions=1, **options)
    event = noted_on(replace(topic, cleanup="compact"))
    service, place = Service(event), (topic.name, 0)

    def of_key(about: str, *numbers: int) -> list[Record]:
        return [record_of(event(about=about), number=number) for number in numbers]

    def instance() -> Running:
        return Running(lambda stop: ConsumerWorker(service.consumer, stop=stop))

    send(*of_key("a", 1))
    with instance():
        until(lambda: service.heard == [1])
    send(*of_key("a", *range(2, 10)))
    rolls = count(1)

    def is_compacted() -> bool:
        send(*of_key("other", next(rolls)))  # Kafka leaves the segment alone that is written to
        records = records_between(config().kafka, {place: 0}, Cluster(config().kafka).watermarks([place]))
        return numbers_by_key(records)["a"] == [9]

    until(is_compacted, seconds=180, every=1)
    with instance():
        until(lambda: 9 in service.heard)
    assert service.heard[:2] == [1, 9]
    assert not ParkedKey.objects.exists()


def test_a_superseded_event_is_passed_over_and_listed_and_is_no_dead_letter() -> None:
    service = Service()
    service.processor.run(left_of(9))
    late = left_of(4)
    service.processor.run([*late, *left_of(10)])
    service.processor.run(late)
    assert service.heard == [9, 10]
    assert service.outcomes() == {9: "processed", 4: "discarded", 10: "processed"}
    assert not DeadLetter.objects.exists()
    assert not ParkedKey.objects.exists()
    assert [(one.number, one.cause) for one in DiscardedEvent.objects.all()] == [(4, "LateEvent")]


def test_what_waits_behind_a_dead_letter_goes_on_over_what_was_dropped() -> None:
    service = Service()
    service.refuses = {3}
    bad = left_of(3)
    with pytest.raises(Refused) as refused:
        service.processor.run([*left_of(1), *bad])
    service.processor.run(left_of(1))
    service.processor.condemn(refused.value, attempts=1, record=bad[0])
    service.processor.run(bad)
    service.processor.run(left_of(9, 20, None))
    assert WaitingEvent.objects.count() == 3
    service.refuses = set()
    report = letters.replay(letter_id=DeadLetter.objects.get().id, operator=Operator("anna", "mended"))
    assert (report.ran, report.waiting) == (3, 0)
    assert service.heard[-4:] == [3, 9, 20, None]
    assert not ParkedKey.objects.exists()


def test_a_key_that_was_parked_before_its_topic_was_declared_compacted_goes_on() -> None:
    service = Service(NOT_DECLARED_SO)
    service.processor.run(left_of(1, 9, 15))
    assert ParkedKey.objects.get().cause == "gap"
    place = {("compacted", 0)}
    assert service.processor.first_due(place) is None

    service = Service()
    due = service.processor.first_due(place)
    assert due is not None
    assert service.processor.go_on(due, until=0.0).is_due  # there is time for one alone
    due = service.processor.first_due(place)
    assert due is not None
    assert not service.processor.go_on(due).is_due
    assert service.heard == [9, 15]
    assert not ParkedKey.objects.exists()
    assert service.processor.first_due(place) is None


def test_what_was_superseded_is_judged_anew_by_a_rebuild() -> None:
    service = Service()
    four, nine, twenty = left_of(4, 9, 20)
    service.processor.run([nine, four])
    assert service.heard == [9]
    service.heard.clear()
    Processor(service.consumer, building=succession.begin(service.consumer)).run([four, nine, twenty])
    assert service.heard == [4, 9, 20]
    assert not ParkedKey.objects.exists()
