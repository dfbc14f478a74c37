"""Topics that are deleted, or made anew, under a relay that runs: it says which, and goes on by itself."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka import OFFSET_INVALID, Producer
from confluent_kafka.admin import AdminClient
from django.core.management import CommandError, call_command
from django.db import transaction

from devstack.stack import Stack
from outbox import Topic, publish, topology
from outbox.config import config
from outbox.kafka import BrokerError, Cluster, RecordProducer
from outbox.keys import partition_of
from outbox.models import Publication
from outbox.relay import Relay
from tests import engine as shared
from tests.engine import Running, all_records, flush, noted_on, numbers_by_key, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

KEYS = "abcdefgh"  # in each of four partitions some


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Topic]:
    """A topic that is declared and applied; a relay notices soon that Kafka says nothing."""
    monkeypatch.setattr("outbox.sending.SILENCE_SECONDS", 0.5)
    before = list(shared.TOPICS)
    topic = Topic(f"lost-{uuid4().hex[:8]}", partitions=4, retention=timedelta(days=1))
    shared.TOPICS[:] = [topic]
    call_command("topics", "apply")
    yield topic
    shared.TOPICS[:] = before


def publish_some(topic: Topic) -> list[UUID]:
    event, ids = noted_on(topic), []
    for about in KEYS:
        with transaction.atomic():
            ids += [publish(event(about=about)) for _ in range(2)]
    return ids


def all_sent(ids: list[UUID]) -> bool:
    return Publication.objects.filter(event_id__in=ids).values("event_id").distinct().count() == len(ids)


def delete(topic: Topic, stack: Stack) -> None:
    """Return when the broker has let go of it: what it takes until then is acknowledged, and goes with it."""
    admin = AdminClient({**config().kafka})
    admin.delete_topics([topic.name])[topic.name].result()
    until(lambda: not list(stack.kafka.data.glob(f"{topic.name}-[0-9]")))


def numbers_in(topic: Topic) -> dict[str, list[int]]:
    """Of each key the numbers, where they came first; each key in its partition of four."""
    records = all_records(topic)
    assert all(record.partition == partition_of((record.key or b"").decode(), 4) for record in records)
    numbers = numbers_by_key(records)
    assert set(numbers) == set(KEYS)
    return numbers


def check_order(topic: Topic, *, first: int) -> None:
    """Each key's events are in order from this number on."""
    for found in numbers_in(topic).values():
        assert found == list(range(first, first + len(found)))


def test_what_is_published_while_a_topic_is_gone_arrives_in_order_when_it_is_there_again(
    topic: Topic, stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    with Running(lambda stop: Relay(stop=stop)):
        before = publish_some(topic)
        until(lambda: all_sent(before))
        delete(topic, stack)
        meanwhile = publish_some(topic) + publish_some(topic)
        until(lambda: f"Topic '{topic.name}' is not in Kafka" in caplog.text)
        assert "run `manage.py topics apply`" in caplog.text
        call_command("topics", "apply")
        until(lambda: all_sent(meanwhile), seconds=60)
        after = publish_some(topic)
        until(lambda: all_sent(after))
    check_order(topic, first=3)


def test_of_what_is_published_once_a_topic_is_made_anew_nothing_is_missing(
    topic: Topic, stack: Stack
) -> None:
    with Running(lambda stop: Relay(stop=stop)):
        before = publish_some(topic)
        until(lambda: all_sent(before))
        delete(topic, stack)
        call_command("topics", "apply")
        after = publish_some(topic) + publish_some(topic)
        until(lambda: all_sent(after), seconds=60)
    for found in numbers_in(topic).values():
        assert sorted(found) == [3, 4, 5, 6]


class Inferring(Producer):
    """Says of each record that it is there, as librdkafka does of one whose answer it never had.

    Of batches under way to a topic that is made anew Kafka may deny the first, and take the second, as the
    new topic's first one: librdkafka then infers that both are there, and knows no offset of the first.
    """

    def produce(  # type: ignore[override]
        self, topic: str, value: bytes, *, on_delivery: Callable[..., None], **more: Any
    ) -> None:
        nowhere = SimpleNamespace(offset=lambda: OFFSET_INVALID)
        super().produce(topic, value, on_delivery=lambda error, _: on_delivery(error, nowhere), **more)


def test_no_record_is_said_to_be_sent_of_which_kafka_does_not_say_where_it_is(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.kafka.producer.Producer", Inferring)
    offsets: list[int] = []
    producer = RecordProducer(
        config().kafka,
        max_bytes=1_000,
        taken=lambda _, offset: offsets.append(offset),
        refused=lambda _: None,
    )
    producer.send((topic.name, 0), None, b"", [], None)
    with pytest.raises(BrokerError, match=f"does not say where it has a record of topic {topic.name}"):
        flush(producer)
    producer.abandon()
    assert not offsets


def test_a_topic_made_anew_with_fewer_partitions_is_waited_for_and_raised_when_told_to(
    topic: Topic, stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(config().kafka)
    with Running(lambda stop: Relay(stop=stop)):
        before = publish_some(topic)
        until(lambda: all_sent(before))
        delete(topic, stack)
        cluster.create_topic(topic.name, partitions=2, replication=1, config=topic.config())
        meanwhile = publish_some(topic) + publish_some(topic)
        until(lambda: f"Topic '{topic.name}' has 2 partitions in Kafka" in caplog.text)
        assert "topics apply --raise-partitions" in caplog.text
        sent = cluster.watermarks([(topic.name, 0), (topic.name, 1)])
        caplog.clear()
        until(lambda: caplog.text.count("has 2 partitions in Kafka") == 2)
        assert cluster.watermarks(sent) == sent  # nothing is sent again and again
        with pytest.raises(CommandError, match="remain"):
            call_command("topics", "apply")
        call_command("topics", "apply", "--raise-partitions")
        until(lambda: all_sent(meanwhile), seconds=60)
    check_order(topic, first=3)


def test_partitions_added_elsewhere_are_said_to_be_drift_and_move_no_key(
    topic: Topic, stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster(config().kafka)
    with Running(lambda stop: Relay(stop=stop)):
        before = publish_some(topic)
        until(lambda: all_sent(before))
        cluster.add_partitions(topic.name, total=7)
        after = publish_some(topic)
        until(lambda: all_sent(after))
    topology.warn([topic], cluster=cluster)  # as a relay does at its start
    assert f"topic {topic.name} has 7 partitions, but keys are spread over 4" in caplog.text
    with Running(lambda stop: Relay(stop=stop)):
        after = publish_some(topic)
        until(lambda: all_sent(after))
    check_order(topic, first=1)
