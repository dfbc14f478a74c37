"""Handlers that take a batch's events as a list: once each, in order per key, and exact in blame."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from outbox import Consumer, Delivery, NonRecoverable, following, handles, handles_batch, publish, registry
from outbox.consumer import ConsumerWorker
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, OutboxEvent, ParkedKey, WaitingEvent
from outbox.processor import Processor
from tests.engine import Noted, Running, new_topic, noted_on, record_of, send, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


class Refused(NonRecoverable):
    """The domain says no."""


class Added(Noted, frozen=True, kw_only=True):
    """Another event of the same list."""

    type = "tests.Added.v1"


class Single(Noted, frozen=True, kw_only=True):
    """An event with a handler of its own, that takes one at a time."""

    type = "tests.Single.v1"


class Ledger:
    """A consumer that writes down what it is given, list by list."""

    def __init__(self) -> None:
        self.consumer = Consumer(name=f"ledger-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
        self.bad: set[str] = set()
        self.lists: list[list[str]] = []
        handles_batch(self.consumer, Noted, Added)(self.take)
        handles(self.consumer, Single)(self.take_single)
        self.processor = Processor(self.consumer)

    def take(self, deliveries: list[Delivery[Noted]]) -> None:
        self._write(deliveries)

    def take_single(self, delivery: Delivery[Single]) -> None:
        self._write([delivery])

    def run(self, *records: Record) -> None:
        self.processor.run(records)

    def heard(self) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT text FROM heard ORDER BY id")
            return [text for (text,) in cursor.fetchall()]

    def _write(self, deliveries: list[Any]) -> None:
        texts = [delivery.event.text for delivery in deliveries]
        self.lists.append(texts)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO heard (text) SELECT unnest(%s::text[])", [texts])
        for delivery in deliveries:
            if delivery.event.text in self.bad:
                raise Refused(f"{delivery.event.text} is refused")
            if delivery.event.text.startswith("answer"):
                with following(delivery):
                    publish(Noted(about="answer", text=delivery.event.text))


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE heard (id bigint GENERATED ALWAYS AS IDENTITY, text text)")
    before = dict(registry._consumers)
    yield Ledger()
    registry._consumers.clear()
    registry._consumers.update(before)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE heard")


def notes(about: str, *texts: str, first: int = 1, of: type[Noted] = Noted) -> list[Record]:
    return [
        record_of(of(about=about, text=text), number=number, offset=number)
        for number, text in enumerate(texts, start=first)
    ]


def outcomes() -> dict[str, int]:
    counts: dict[str, int] = {}
    for outcome in InboxEntry.objects.values_list("outcome", flat=True):
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def test_a_batch_is_one_list_for_all_its_types(ledger: Ledger) -> None:
    ledger.run(*notes("a", "1", "2"), *notes("b", "3", of=Added), *notes("a", "4", first=3))
    assert ledger.lists == [["1", "2", "3", "4"]]
    assert outcomes() == {"processed": 4}


def test_what_is_known_is_on_no_list(ledger: Ledger) -> None:
    records = notes("a", "1", "2", "3")
    ledger.run(*records[:2], records[0])
    ledger.run(*records)
    ledger.run(*records)
    assert ledger.lists == [["1", "2"], ["3"]]


def test_another_handlers_event_of_a_key_comes_in_its_turn(ledger: Ledger) -> None:
    """Lists wait for the end of the batch, unless one of their keys goes on elsewhere."""
    ledger.run(
        *notes("a", "a1"),
        *notes("b", "b1", of=Single),
        *notes("a", "a2", first=2, of=Single),
        *notes("a", "a3", first=3),
    )
    assert ledger.lists == [["b1"], ["a1"], ["a2"], ["a3"]]


def test_a_list_that_fails_leaves_nothing_and_then_each_is_judged_alone(ledger: Ledger) -> None:
    ledger.bad = {"2"}
    records = [*notes("a", "1", "2", "3"), *notes("b", "4")]
    with pytest.raises(Refused):
        ledger.run(*records)
    assert ledger.heard() == []
    assert not InboxEntry.objects.exists()
    ledger.run(records[0])
    with pytest.raises(Refused) as refused:
        ledger.run(records[1])
    ledger.processor.condemn(refused.value, attempts=1)
    ledger.run(records[1])
    ledger.run(*records[2:])
    assert ledger.heard() == ["1", "4"]
    assert DeadLetter.objects.get().error == "2 is refused"
    assert outcomes() == {"processed": 2, "dead": 1, "parked": 1}


def test_what_a_gap_releases_is_judged_by_itself(ledger: Ledger) -> None:
    one, two, three, four = notes("a", "1", "2", "3", "4")
    ledger.run(one, three, four)
    ledger.bad = {"3"}
    with pytest.raises(Refused) as refused:
        ledger.run(two)
    ledger.processor.condemn(refused.value, attempts=1)
    ledger.run(two)
    assert ledger.heard() == ["1", "2"]
    letter = DeadLetter.objects.get()
    assert (letter.number, letter.error) == (3, "3 is refused")
    assert ParkedKey.objects.get().event_id == letter.event_id
    assert [event.number for event in WaitingEvent.objects.all()] == [4]
    assert outcomes() == {"processed": 2, "dead": 1, "parked": 1}


def test_what_a_gap_releases_joins_the_list_in_order(ledger: Ledger) -> None:
    one, two, three, four, five = notes("a", "1", "2", "3", "4", "5")
    ledger.run(one, three, five)
    ledger.run(two, four, *notes("b", "flows"))
    assert ledger.lists == [["1"], ["2", "3", "4", "5", "flows"]]
    assert not WaitingEvent.objects.exists()
    assert not ParkedKey.objects.exists()
    assert outcomes() == {"processed": 6}


def test_what_it_publishes_names_the_cause_it_is_told(ledger: Ledger) -> None:
    ledger.run(*notes("a", "answer 1", "2", "answer 3"))
    causes = dict(InboxEntry.objects.values_list("number", "event_id"))
    published = OutboxEvent.objects.order_by("position").values_list("causation_id", "correlation_id")
    assert list(published) == [(causes[1], causes[1]), (causes[3], causes[3])]


def test_what_was_published_goes_with_its_savepoint(ledger: Ledger) -> None:
    def take(deliveries: list[Delivery[Noted]]) -> None:
        for delivery in deliveries:
            with transaction.atomic():
                publish(Noted(about="answer", text=delivery.event.text))
                transaction.set_rollback(delivery.event.text == "2")

    ledger.consumer.routes[Noted.type] = registry.Route(Noted, take, batched=True)
    ledger.run(*notes("a", "1", "2", "3"))
    texts = [Noted.from_json(bytes(event.payload)).text for event in OutboxEvent.objects.order_by("position")]  # type: ignore[attr-defined]
    assert texts == ["1", "3"]


def test_in_a_running_consumer_only_the_guilty_event_is_set_aside(ledger: Ledger) -> None:
    topic = new_topic(partitions=1)
    heard = noted_on(topic)
    ledger.consumer.routes.clear()
    handles_batch(ledger.consumer, heard)(ledger.take)
    ledger.bad = {"k3"}
    send(
        *[
            record_of(heard(about=name, text=f"{name}{number}"), number=number)
            for number in range(1, 6)
            for name in "jk"
        ]
    )
    with Running(lambda stop: ConsumerWorker(ledger.consumer, stop=stop)):
        until(lambda: InboxEntry.objects.count() == 10)
    assert sorted(ledger.heard()) == ["j1", "j2", "j3", "j4", "j5", "k1", "k2"]
    assert DeadLetter.objects.get().error == "k3 is refused"
    assert outcomes() == {"processed": 7, "dead": 1, "parked": 2}
