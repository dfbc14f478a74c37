"""`manage.py topics`: creates what is declared, reports drift, never moves a key."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from outbox import Topic
from outbox.config import config
from outbox.kafka import Cluster
from outbox.models import TopicRecord
from tests import engine as shared
from tests.engine import Writer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def topic() -> Iterator[Topic]:
    before = list(shared.TOPICS)
    topic = Topic(f"declared-{uuid4().hex[:8]}", partitions=2, retention=timedelta(days=1))
    shared.TOPICS[:] = [topic]
    yield topic
    shared.TOPICS[:] = before


def topics(action: str) -> str:
    out = StringIO()
    call_command("topics", action, stdout=out)
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
