"""The pages of topics: what Kafka says beside what is declared, asked seldom, and missed without harm."""

import asyncio
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from django.test import Client
from django.urls import reverse

from accounts.models import User
from dashboard.measure import KafkaProbe
from dashboard.outage import Outage, kafka_outage
from dashboard.sampler import Part
from dashboard.topics import regions, selectors, views
from dashboard.topics.observer import Observer
from dashboard.topics.selectors import Topics, topics
from dashboard.topics.standing import TopicStanding
from outbox import Consumer, Topic, handles, registry
from outbox.config import config
from outbox.kafka import BrokerError, Cluster
from outbox.models import TopicRecord
from outbox.positions import PartitionEnd, Position
from outbox.unpublished import Oldest
from tests import engine as shared
from tests.engine import new_topic, noted_on, record_of, send
from tests.integration.at_once import at_once
from tests.integration.dashboard.conftest import browser_of
from tests.integration.dashboard.test_consumers import text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

LONG = 20.0
NOWHERE = {"bootstrap.servers": "127.0.0.1:9"}


@pytest.fixture
def topic() -> Iterator[Topic]:
    """The one topic that is declared, with two partitions; a consumer reads it."""
    before, consumers = list(shared.TOPICS), dict(registry._consumers)
    topic = new_topic(partitions=2)
    shared.TOPICS[:] = [topic]
    registry._consumers.clear()
    consumer = Consumer(name=f"reader-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
    handles(consumer, noted_on(topic))(lambda _: None)
    yield topic
    shared.TOPICS[:] = before
    registry._consumers.clear()
    registry._consumers.update(consumers)


@pytest.fixture
def observer(monkeypatch: pytest.MonkeyPatch) -> Observer:
    """One that has seen nothing for others."""
    return observed(monkeypatch, Observer(every=0.0))


def observed(monkeypatch: pytest.MonkeyPatch, observer: Observer) -> Observer:
    monkeypatch.setattr(views, "observer", observer)
    monkeypatch.setattr(regions, "observer", observer)
    monkeypatch.setattr(views, "PATIENCE", LONG)
    return observer


def declare(topic: Topic) -> None:
    shared.TOPICS[:] = [topic]


def stands(observer: Observer) -> Topics:
    return topics(observer.look(patience=LONG))


def only(observer: Observer) -> TopicStanding:
    [standing] = stands(observer).topics
    return standing


def note(topic: Topic, partition: int, number: int) -> None:
    send(record_of(noted_on(topic)(about=f"k{partition}"), number=number, partition=partition))


def test_the_flow_counts_the_records_that_are_kept_and_not_those_that_kafka_deleted(topic: Topic) -> None:
    for number in (1, 2, 3):
        note(topic, 0, number)
    probe = KafkaProbe()
    assert probe.measure(now=datetime.now(UTC)).records == 3
    admin = AdminClient({**config().kafka})
    for future in admin.delete_records([TopicPartition(topic.name, 0, 2)]).values():
        future.result(LONG)
    assert probe.measure(now=datetime.now(UTC)).records == 1


def test_what_a_topic_keeps_and_who_reads_it_is_shown(viewer: User, topic: Topic, observer: Observer) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    for number in (1, 2, 3):
        note(topic, 0, number)
    [consumer] = registry._consumers.values()
    Position.objects.create(consumer=consumer.name, topic=topic.name, partition=0, reached=1)
    standing = only(observer)
    assert (standing.word, standing.drift) == ("as declared", ())
    assert [(part.low, part.high, part.records) for part in standing.partitions] == [(0, 3, 3), (0, 0, 0)]
    first, empty = standing.partitions
    assert first.oldest is not None
    assert first.latest is not None
    assert before <= first.oldest <= first.latest <= datetime.now(UTC)
    assert (empty.oldest, empty.latest) == (None, None)
    [place] = first.places
    assert (place.reached, place.lag, place.share, place.most) == (1, 2, 1, 3)
    page = text(browser_of(viewer).get(reverse("topic", args=[topic.name])).content.decode())
    assert "Partitions 2 declared 2, recorded 2" in page
    assert "Records kept 3" in page
    assert "1 2 behind" in page
    assert "retention 24 h 24 h" in page
    assert [(reader.events, reader.seconds, reader.state) for reader in standing.readers] == [
        (None, None, "none")
    ]
    listed = text(browser_of(viewer).get(reverse("topics")).content.decode())
    assert f"{consumer.name} lag not known" in listed


@pytest.mark.parametrize(
    ("change", "what", "command", "advice"),
    [
        (
            {"retention": timedelta(days=2)},
            "declared is 172800000",
            "topics apply",
            "",
        ),
        ({"cleanup": "compact"}, "cleanup.policy=delete, declared is compact", "topics apply", ""),
        ({"partitions": 3}, "has 2 partitions, declared are 3", "apply --raise-partitions", "It moves keys"),
        (
            {"partitions": 1},
            "has 2 partitions, declared are 1",
            "",
            "Kafka never removes partitions",
        ),
        ({"replication": 3}, "has replication 1, declared is 3", "", "Reassign its partitions"),
        ({"name": "nowhere"}, "does not exist", "topics apply", ""),
    ],
)
def test_drift_says_what_differs_and_what_to_do(
    viewer: User,
    topic: Topic,
    observer: Observer,
    change: dict[str, object],
    what: str,
    command: str,
    advice: str,
) -> None:
    declare(replace(topic, **change))  # type: ignore[arg-type]
    standing = only(observer)
    [drift] = standing.drift
    assert what in drift.what
    assert drift.command.endswith(command)
    assert bool(drift.command) == bool(command)
    assert drift.advice.startswith(advice)
    assert standing.word == ("does not exist" if "name" in change else "drifted")
    page = text(browser_of(viewer).get(reverse("topics")).content.decode())
    assert what in page
    assert command in page


def test_partitions_that_nobody_recorded_are_drift(topic: Topic, observer: Observer) -> None:
    TopicRecord.objects.filter(name=topic.name).update(partitions=1)
    [drift] = only(observer).drift
    assert "has 2 partitions, but keys are spread over 1" in drift.what
    assert drift.command == "manage.py topics apply --raise-partitions"


def test_others_are_listed_and_kafkas_own_are_not(viewer: User, topic: Topic, observer: Observer) -> None:
    declare(replace(topic, name="nowhere"))
    found = dict(stands(observer).undeclared)
    assert found[topic.name] == 2
    assert not any(name.startswith("__") for name in found)
    assert "__consumer_offsets" in Cluster(config().kafka)._admin.list_topics(timeout=10).topics
    page = text(browser_of(viewer).get(reverse("topics")).content.decode())
    assert f"{topic.name} (2 partitions)" in page


def test_without_kafka_the_tables_still_speak(
    viewer: User, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away after it was asked once, and comes back."""
    kafka = dict(config().kafka)
    observer = observed(monkeypatch, Observer(lambda: Cluster(kafka, timeout=2.0), every=0.0))
    note(topic, 0, 1)
    assert stands(observer).away_since is None
    back, kafka["bootstrap.servers"] = kafka["bootstrap.servers"], NOWHERE["bootstrap.servers"]
    PartitionEnd.objects.create(topic=topic.name, partition=1, next_offset=7)
    answer = browser_of(viewer).get(reverse("topic", args=[topic.name]))
    assert answer.status_code == 200
    page = text(answer.content.decode())
    assert "Kafka does not answer" in page
    assert "no answer from Kafka" in page
    assert "Away since" in page
    # What Kafka said, and what an instance has said since.
    assert "0 0 1 1" in page
    assert "1 0 7 7" in page
    since = stands(observer).away_since
    assert since is not None
    assert stands(observer).away_since == since
    assert "all else that Kafka says is of" in page
    kafka["bootstrap.servers"] = back
    assert stands(observer).away_since is None


def test_all_pages_say_since_when_kafka_is_away_as_the_first_of_them_found() -> None:
    async def asked_by_the_flow() -> datetime:
        part = Part[None]("kafka", outage=kafka_outage)

        def fail() -> None:
            raise BrokerError("it does not answer")

        await part.ask(fail, patience=LONG)
        part.stop(lambda: None)
        assert part.reading.away_since is not None
        return part.reading.away_since

    kafka_outage.over()
    first = asyncio.run(asked_by_the_flow())
    observer = Observer(lambda: Cluster(NOWHERE, timeout=0.5), every=0.0)
    assert observer.look(patience=LONG).away_since == first
    assert asyncio.run(asked_by_the_flow()) == first
    kafka_outage.over()


def test_an_outage_that_nobody_has_met_with_for_long_is_another() -> None:
    outage, at = Outage(), datetime.now(UTC)
    assert (
        outage.met(at)
        == outage.met(at + timedelta(seconds=8))
        == outage.met(at + timedelta(seconds=16))
        == at
    )
    later = at + timedelta(hours=1)
    assert outage.met(later) == later
    outage.over()
    assert outage.met(later + timedelta(seconds=1)) == later + timedelta(seconds=1)


def test_what_waits_in_the_outbox_makes_a_reader_late(
    viewer: User, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = observed(monkeypatch, Observer(lambda: Cluster(NOWHERE, timeout=0.5), every=0.0))
    [reader] = only(observer).readers
    assert (reader.state, reader.seconds) == ("none", None)
    at = datetime.now(UTC) - timedelta(seconds=40)
    waits = {topic.name: Oldest(happened_at=at, waits_since=at)}
    monkeypatch.setattr(selectors, "oldest_unpublished", lambda *, using: waits)
    [reader] = only(observer).readers
    assert reader.state == "warn"
    assert reader.seconds is not None
    assert reader.seconds >= 40
    page = text(browser_of(viewer).get(reverse("topics")).content.decode())
    assert re.search(r"lag not known, 4\d s behind", page)


def test_one_who_never_saw_kafka_shows_what_is_recorded(
    viewer: User, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = observed(monkeypatch, Observer(lambda: Cluster(NOWHERE, timeout=0.5), every=0.0))
    PartitionEnd.objects.create(topic=topic.name, partition=0, next_offset=5)
    standing = only(observer)
    assert [(part.number, part.low, part.high) for part in standing.partitions] == [
        (0, None, 5),
        (1, None, None),
    ]
    assert standing.recorded == 2
    assert browser_of(viewer).get(reverse("topics")).status_code == 200


def test_however_many_watch_kafka_is_asked_once(topic: Topic) -> None:
    asked = []

    def connect() -> Cluster:
        asked.append(threading.current_thread().name)
        return Cluster(config().kafka, timeout=5.0)

    observer = Observer(connect, every=60.0)
    readings = at_once(*[lambda: observer.look(patience=LONG)] * 12)
    assert all(reading.value is not None for reading in readings)
    assert asked == ["topics"]


def test_a_kafka_that_hangs_holds_nobody_up() -> None:
    release = threading.Event()

    def connect() -> Cluster:
        # Whoever waited for an answer has set nothing free by then.
        assert release.wait(10), "the page waited"
        raise BrokerError("it hung")

    observer = Observer(connect, every=0.0)
    assert observer.look(patience=0.05).value is None
    assert observer.look().value is None
    release.set()
    assert observer.look(patience=LONG).reason == "it hung"


def test_only_those_who_see_everyone_look(
    first: User, viewer: User, operator: User, topic: Topic, observer: Observer
) -> None:
    anonymous = Client(headers={"host": "localhost"})
    for path in (reverse("topics"), reverse("topic", args=[topic.name])):
        assert anonymous.get(path).status_code == 302
        assert browser_of(first).get(path).status_code == 403
        for user in (viewer, operator):
            assert browser_of(user).get(path).status_code == 200
    for path in (reverse("topics-stream"), reverse("topic-stream", args=[topic.name])):
        assert anonymous.head(path).status_code == 401
        assert browser_of(first).head(path).status_code == 403
        assert browser_of(viewer).head(path).status_code == 200
    for name in ("nowhere", "<script>", "__consumer_offsets"):
        assert browser_of(viewer).get(reverse("topic", args=[name])).status_code == 404
        assert browser_of(viewer).get(reverse("topic-stream", args=[name])).status_code == 404


def test_the_regions_are_those_of_the_page(viewer: User, topic: Topic, observer: Observer) -> None:
    page = browser_of(viewer).get(reverse("topic", args=[topic.name])).content.decode()
    observer.look(patience=LONG)
    told = regions.read([topic.name, regions.ALL])
    for name in told[topic.name]:
        assert f'id="{name}"' in page
    assert f"figures-{topic.name}" in told[regions.ALL]
