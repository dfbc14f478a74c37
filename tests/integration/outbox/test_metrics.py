"""Metrics: what the process did, how the system stands, and what scraping costs."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from outbox import (
    Consumer,
    Delivery,
    NonRecoverable,
    clock,
    exposition,
    handles,
    health,
    metrics,
    pausing,
    publish,
    registry,
)
from outbox.alerts.alarms import Watch
from outbox.consumer import ConsumerWorker
from outbox.errors import MetricsAddressInUse
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, Publication
from outbox.positions import PartitionEnd
from outbox.processor import Processor
from outbox.relay import Relay
from outbox.repair import acts, letters
from outbox.sampling import sample_when_due
from outbox.system_metrics import OF_CONSUMERS, OF_OUTBOX, System
from tests.engine import Noted, Running, Writer, new_topic, noted_on, record_of, until
from tests.scraped import Figures, families, figure, figures, scrape

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

SECRET = "key-of-nobody"
UNREAD = "outbox_gauges_unread"


class Reader:
    """A consumer that refuses what is marked so."""

    def __init__(self) -> None:
        self.topic = new_topic(partitions=2)
        self.event = noted_on(self.topic)
        self.consumer = Consumer(name=f"reader-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
        self.mended = False
        handles(self.consumer, self.event)(self.handle)
        metrics.forget()

    def handle(self, delivery: Delivery[Noted]) -> None:
        if delivery.event.text == "bad" and not self.mended:
            raise NonRecoverable("refused")

    def publish(self, about: str, text: str = "") -> None:
        with transaction.atomic():
            publish(self.event(about=about, text=text))

    def run(self, *records: Record) -> None:
        Processor(self.consumer).run(records)

    def outcome(self, found: Figures, outcome: str) -> float:
        name, event_type = self.consumer.name, self.event.type
        return figure(found, "outbox_processed_events_total", consumer=name, type=event_type, outcome=outcome)


@pytest.fixture
def reader() -> Iterator[Reader]:
    before = dict(registry._consumers)
    registry._consumers.clear()
    yield Reader()
    registry._consumers.clear()
    registry._consumers.update(before)
    metrics.forget()


def told(*, system: bool = False) -> Figures:
    """Now; of the system not what was read a moment ago."""
    exposition.SYSTEM.forget()
    return figures(exposition.page(system=system).decode())


def test_what_is_published_relayed_and_processed_is_counted_once(reader: Reader) -> None:
    topic, event_type = reader.topic.name, reader.event.type
    consuming = Running(lambda stop: ConsumerWorker(reader.consumer, stop=stop))
    with Running(lambda stop: Relay(stop=stop)), consuming:
        before = told()
        for number in range(20):
            reader.publish(f"{SECRET}-{number}")
        reader.publish("lost", "bad")
        until(lambda: InboxEntry.objects.filter(consumer=reader.consumer.name).count() == 21)
        until(lambda: Publication.objects.count() == 21)
        until(lambda: figure(told(), "outbox_relayed_events_total", topic=topic) == 21)
        until(lambda: reader.outcome(told(), "dead") == 1)
    after = told()
    published = ("outbox_published_events_total", {"topic": topic, "type": event_type})
    assert figure(after, published[0], **published[1]) - figure(before, published[0], **published[1]) == 21
    assert reader.outcome(after, "processed") == 20
    delays = figure(after, "outbox_sync_delay_seconds_count", consumer=reader.consumer.name)
    assert delays == 20
    assert figure(after, "outbox_batch_events_sum", consumer=reader.consumer.name) == 21
    page = exposition.page(system=True).decode()
    assert SECRET not in page


def test_what_is_rolled_back_is_not_counted(reader: Reader) -> None:
    with transaction.atomic():
        publish(reader.event(about="a"))
        transaction.set_rollback(True)
    labels = {"topic": reader.topic.name, "type": reader.event.type}
    assert figure(told(), "outbox_published_events_total", **labels) == 0


def test_what_was_known_and_what_operators_ran_is_counted(reader: Reader) -> None:
    fine, bad = record_of(reader.event(about="a")), record_of(reader.event(about="b", text="bad"), offset=1)
    processor = Processor(reader.consumer)
    processor.run([fine])
    processor.run([fine])
    assert (reader.outcome(told(), "processed"), reader.outcome(told(), "repeated")) == (1, 1)
    with pytest.raises(NonRecoverable):
        processor.run([bad])
    processor.condemn(NonRecoverable("refused"), attempts=1)
    processor.run([bad])
    assert reader.outcome(told(), "dead") == 1
    reader.mended = True
    [letter] = DeadLetter.objects.filter(consumer=reader.consumer.name).values_list("id", flat=True)
    letters.replay(letter_id=letter, operator=acts.Operator("olga", "mended", acts.Via.PYTHON))
    assert reader.outcome(told(), "processed") == 2


def test_labels_stay_bounded_whatever_comes(reader: Reader) -> None:
    before = len(told())
    types = [f"strangers.Thing{number}.v1".encode() for number in range(1_000)]
    records = [
        record_of(reader.event(about=f"k{number}"), offset=number, headers={"ce_type": event_type})
        for number, event_type in enumerate(types)
    ]
    reader.run(*records)
    for number in range(1_000):
        metrics.relayed([f"topic-{number}"], [f"topic-{number}"], events=1, waited=0.1)
        metrics.retried(f"consumer-{number}", "unknown")
        metrics.published(f"topic-{number}", f"type-{number}")
    found = told()
    assert len(found) - before < 100
    labels = {"consumer": reader.consumer.name, "type": "other", "outcome": "unhandled"}
    assert figure(found, "outbox_processed_events_total", **labels) == 1_000
    assert "strangers" not in exposition.page(system=True).decode()


def test_the_system_is_told_as_it_stands(reader: Reader) -> None:
    name = reader.consumer.name
    for _ in range(3):
        reader.publish("waits")
    gap = record_of(reader.event(about="gap"), number=3, offset=1)
    reader.run(record_of(reader.event(about="gap"), number=1), gap)
    pausing.pause(consumer=reader.consumer, by=pausing.ITSELF, reason="many keys failed")
    found = told(system=True)
    assert figure(found, "outbox_database_up") == 1
    assert figure(found, "outbox_backlog_events") == 3
    assert figure(found, "outbox_backlog_oldest_seconds") > 0
    assert figure(found, "outbox_shards") == 8
    assert figure(found, "outbox_shards_leased") == figure(found, "outbox_relays") == 0
    assert figure(found, "outbox_partitions_ahead_days") > 2
    assert figure(found, "outbox_consumer_parked_keys", consumer=name, cause="gap") == 1
    assert figure(found, "outbox_consumer_gap_oldest_seconds", consumer=name) > 0
    assert figure(found, "outbox_consumer_paused", consumer=name, by="itself") == 1
    assert figure(found, "outbox_consumer_paused", consumer=name, by="operator") == 0
    assert figure(found, "outbox_consumer_limit_seconds", consumer=name) == 5
    # Nobody has said where its partitions end: that is not 0.
    lag = [("outbox_consumer_lag_events", name), ("outbox_consumer_lag_seconds", name)]
    assert not any((gauge, frozenset({("consumer", of)})) in found for gauge, of in lag)
    assert figure(found, "outbox_consumer_lag_known", consumer=name) == 0
    for partition in (0, 1):
        PartitionEnd.objects.create(topic=reader.topic.name, partition=partition, next_offset=0)
    found = told(system=True)
    assert all((gauge, frozenset({("consumer", of)})) in found for gauge, of in lag)
    assert figure(found, "outbox_consumer_lag_known", consumer=name) == 1
    with Running(lambda stop: Relay(stop=stop)):
        until(lambda: figure(told(system=True), "outbox_shards_leased") == 8)
        until(lambda: figure(told(system=True), "outbox_backlog_events") == 0)
        assert figure(told(system=True), "outbox_relays") == 1


def test_the_age_of_what_is_told_of_alarms_is_told(reader: Reader) -> None:
    def age() -> float:
        return figure(told(system=True), "outbox_alarms_age_seconds")

    Watch.objects.create(begun_at=clock.now() - timedelta(minutes=10))
    assert 600 <= age() < 660  # nobody has ever looked
    assert sample_when_due()
    assert 0 <= age() < 60
    Watch.objects.update(checked_at=clock.now() - timedelta(minutes=5))
    assert 300 <= age() < 360


def test_many_scrapes_cost_the_database_no_more_than_one(reader: Reader) -> None:
    system = System()
    # In a transaction it is read on this connection, where queries are seen.
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        first = system.samples()
    with transaction.atomic(), CaptureQueriesContext(connection) as again:
        for _ in range(20):
            samples = system.samples()
    assert len(asked) > 0
    # A second may pass meanwhile on a machine that is busy.
    assert len(again) <= len(asked)
    assert {sample.name for sample in samples} == {sample.name for sample in first}


def test_a_database_that_is_away_leaves_the_process_s_own_metrics(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.publish("a")
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connections["default"].settings_dict, "PORT", "1")
        found = told(system=True)
        connection.close()
    assert figure(found, "outbox_database_up") == 0
    assert not any(name == "outbox_backlog_events" for name, _ in found)
    labels = {"topic": reader.topic.name, "type": reader.event.type}
    assert figure(found, "outbox_published_events_total", **labels) == 1
    assert figure(told(system=True), "outbox_database_up") == 1


def unread(found: Figures) -> set[str]:
    """The parts that are said to be unread. Every part is said to be so or not."""
    told = {dict(labels)["part"]: value for (name, labels), value in found.items() if name == UNREAD}
    assert told.keys() == {*OF_OUTBOX, *OF_CONSUMERS}
    return {part for part, value in told.items() if value}


def test_a_question_that_takes_too_long_costs_its_own_gauges_alone(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = {name for name, _ in told(system=True)}
    assert not unread(told(system=True))
    monkeypatch.setattr("outbox.system_metrics.TIMEOUT_MS", 50)
    with Writer() as other:
        other.begin()
        other.execute("LOCK TABLE outbox_dead_letter IN ACCESS EXCLUSIVE MODE")
        found = told(system=True)
        other.end(rollback=True)
    assert figure(found, "outbox_database_up") == 1
    assert unread(found) == {"set_aside"}
    assert everything - {name for name, _ in found} == {
        "outbox_consumer_dead_letters",
        "outbox_consumer_parked_keys",
        "outbox_consumer_gap_oldest_seconds",
    }
    assert not unread(told(system=True))


def test_of_questions_that_all_take_too_long_no_more_are_asked_than_a_scraper_waits_for(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.system_metrics.PATIENCE_SECONDS", 0.0)
    found = told(system=True)
    assert figure(found, "outbox_database_up") == 1
    assert unread(found) == {*OF_OUTBOX, *OF_CONSUMERS}
    assert not any(name == "outbox_backlog_events" for name, _ in found)


def test_every_metric_has_help(reader: Reader) -> None:
    for family in families(exposition.page(system=True).decode()).values():
        assert family.documentation, family.name


def test_a_process_tells_strangers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = exposition.serve("127.0.0.1:0")
    try:
        monkeypatch.setattr(health, "LOOPBACK", ())
        with pytest.raises(OSError, match="403"):
            scrape(f"http://127.0.0.1:{server.server_address[1]}/metrics")
    finally:
        server.shutdown()
        server.server_close()


def test_a_process_serves_its_page_to_those_who_may_ask_and_says_when_its_port_is_taken() -> None:
    server = exposition.serve("127.0.0.1:0")
    try:
        port = int(server.server_address[1])
        page = families(scrape(f"http://127.0.0.1:{port}/metrics"))
        assert "outbox_processed_events" in page
        assert "outbox_database_up" not in page  # the site and relays tell that
        with pytest.raises(OSError, match="404"):
            scrape(f"http://127.0.0.1:{port}/")
        with pytest.raises(MetricsAddressInUse, match=f"127.0.0.1:{port}: .*a port of its own"):
            exposition.serve(f"127.0.0.1:{port - 1}", instance=1)
    finally:
        server.shutdown()
        server.server_close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port))
