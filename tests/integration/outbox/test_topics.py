"""`manage.py topics`: creates what is declared, reports drift, never moves a key."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from pytest_django import Settings

from outbox import Consumer, Topic, handles, publish, registry, topology
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.kafka import Cluster, TopicState
from outbox.models import InboxEntry, OutboxEvent, ParkedKey, Publication, TopicRecord
from outbox.relay import Relay
from tests import engine as shared
from tests.engine import Running, Writer, noted_on, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def topic() -> Iterator[Topic]:
    before = list(shared.TOPICS)
    topic = Topic(f"declared-{uuid4().hex[:8]}", partitions=2, retention=timedelta(days=1))
    shared.TOPICS[:] = [topic]
    yield topic
    shared.TOPICS[:] = before


def topics(action: str, *options: str) -> str:
    out = StringIO()
    call_command("topics", action, *options, stdout=out)
    return out.getvalue()


def test_a_missing_topic_is_reported_then_created_and_recorded(topic: Topic) -> None:
    with pytest.raises(CommandError, match="1 of the differences remain"):
        topics("diff")
    assert "does not exist → create" in topics("apply")
    assert TopicRecord.objects.get(name=topic.name).partitions == 2
    state = Cluster(config().kafka).topics([topic.name])[topic.name]
    assert (state.partitions, state.config["retention.ms"]) == (2, "86400000")
    assert "as declared" in topics("diff")
    assert "as declared" in topics("apply")


def test_a_changed_setting_is_reported_and_set_back(topic: Topic) -> None:
    topics("apply")
    cluster = Cluster(config().kafka)
    cluster.set_config(topic.name, {"retention.ms": "1000"})
    with pytest.raises(CommandError):
        topics("diff")
    assert "retention.ms=1000, declared is 86400000 → configure" in topics("apply")
    assert cluster.topics([topic.name])[topic.name].config["retention.ms"] == "86400000"


def test_partitions_added_elsewhere_are_drift_and_move_no_key(topic: Topic) -> None:
    topics("apply")
    Cluster(config().kafka).add_partitions(topic.name, total=5)
    with pytest.raises(CommandError, match="remain"):
        topics("apply")
    assert TopicRecord.objects.get(name=topic.name).partitions == 2


def test_partitions_are_raised_when_told_to(topic: Topic) -> None:
    topics("apply")
    shared.TOPICS[:] = [replace(topic, partitions=5)]
    with pytest.raises(CommandError, match="remain"):
        topics("apply")
    assert TopicRecord.objects.get(name=topic.name).partitions == 2
    assert "as declared" in topics("apply", "--raise-partitions")
    assert TopicRecord.objects.get(name=topic.name).partitions == 5
    assert Cluster(config().kafka).partition_counts()[topic.name] == 5
    assert "as declared" in topics("diff")
    with pytest.raises(CommandError, match="goes with apply"):
        topics("diff", "--raise-partitions")


def test_keys_keep_their_order_while_partitions_are_raised(topic: Topic) -> None:
    """Records of a key are then in two partitions; their numbers put them in order."""
    topics("apply")
    event, seen = noted_on(topic), []
    consumer = Consumer(name=f"ordered-{topic.name}", sync_delay_limit=timedelta(seconds=5))
    handles(consumer, event)(lambda delivery: seen.append((delivery.event.about, delivery.event.text)))

    def publish_some(first: int) -> None:
        for number in range(first, first + 20):
            with transaction.atomic():
                for about in "abcdef":
                    publish(event(about=about, text=str(number)))

    try:
        with (
            Running(lambda stop: Relay(stop=stop)),
            Running(lambda stop: ConsumerWorker(consumer, stop=stop)),
        ):
            publish_some(0)
            shared.TOPICS[:] = [replace(topic, partitions=7)]
            topics("apply", "--raise-partitions")
            shared.TOPICS[:] = [topic]  # as the event names it
            publish_some(20)
            until(lambda: _recorded() == 240)

            def publish_more() -> bool:
                """Until the relay has looked at the partitions, which it does now and then."""
                publish_some(_recorded() // 6)
                until(lambda: _recorded() == OutboxEvent.objects.count())
                return len(set(Publication.objects.values_list("partition", flat=True))) > 2

            until(publish_more)
            count = OutboxEvent.objects.count()
            until(lambda: InboxEntry.objects.filter(consumer=consumer.name).count() == count, seconds=60)
            until(lambda: not ParkedKey.objects.filter(consumer=consumer.name).exists())
    finally:
        del registry._consumers[consumer.name]
    assert count >= 360
    assert {about: [text for key, text in seen if key == about] for about in "abcdef"} == {
        about: [str(number) for number in range(count // 6)] for about in "abcdef"
    }


def _recorded() -> int:
    return Publication.objects.count()


def test_settings_that_could_lose_or_refuse_records_are_reported_and_set(topic: Topic) -> None:
    topics("apply")
    cluster = Cluster(config().kafka)
    cluster.set_config(topic.name, {"unclean.leader.election.enable": "true", "max.message.bytes": "5000"})
    with pytest.raises(CommandError, match="2 of the differences"):
        topics("diff")
    said = topics("apply")
    assert "lacks acknowledged records (unclean.leader.election.enable) → configure" in said
    assert "refuses records beyond 5000 bytes, and publish() accepts 1000000 → configure" in said
    assert "as declared" in topics("diff")


def test_one_copy_is_not_enough_where_there_are_three(topic: Topic) -> None:
    three = TopicState(partitions=1, replication=3, config={"min.insync.replicas": "1"})
    [risk] = topology._risks("t", three)
    assert risk.settings == {"min.insync.replicas": "2"}
    assert not list(topology._risks("t", replace(three, config={"min.insync.replicas": "2"})))
    assert not list(topology._risks("t", replace(three, replication=1)))


def test_brokers_that_create_topics_by_themselves_are_reported(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics("apply")
    assert not Cluster(config().kafka).creates_topics_by_itself()
    monkeypatch.setattr(Cluster, "creates_topics_by_itself", lambda self: True)
    with pytest.raises(CommandError, match="1 of the differences"):
        topics("diff")


def test_a_relay_warns_at_its_start(topic: Topic, caplog: pytest.LogCaptureFixture) -> None:
    topology.warn([topic], cluster=Cluster(config().kafka))
    assert f"topic {topic.name} does not exist" in caplog.text
    caplog.clear()
    topology.warn([topic], cluster=Cluster({"bootstrap.servers": "127.0.0.1:1"}, timeout=0.2))
    assert not [entry for entry in caplog.records if entry.name == "outbox.topology"]


def test_two_at_once_both_succeed(topic: Topic) -> None:
    with Writer() as one, Writer() as two:
        one.call(lambda: topics("apply"), wait=False)
        two.call(lambda: topics("apply"))
        one.call(lambda: None)
    assert "as declared" in topics("diff")


def test_without_kafka_it_says_where_it_looked(topic: Topic, settings: Settings) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "KAFKA": {"bootstrap.servers": "127.0.0.1:1"}}
    config.cache_clear()
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:1"):
        topics("diff")
