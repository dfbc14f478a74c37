"""Topics, consumers and settings that are declared wrongly say so when they are declared."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from outbox import Consumer, Delivery, Topic, handles, registry
from outbox.config import config
from outbox.errors import ConsumerMisdeclared, InvalidTopic, UnknownConsumer
from tests.engine import NOTES, Noted


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "no spaces"}, "not a topic name"),
        ({"name": ".."}, "not a topic name"),
        ({"name": ""}, "not a topic name"),
        ({"partitions": 0}, "at least 1"),
        ({"retention": timedelta(0)}, "None keeps records for ever"),
    ],
)
def test_a_topic_kafka_would_refuse(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidTopic, match=says):
        Topic(**{"name": "notes", "partitions": 1, "retention": None, **options})


def test_a_topics_settings() -> None:
    assert Topic("a", partitions=1, retention=None).config()["retention.ms"] == "-1"
    assert NOTES.config() == {"cleanup.policy": "delete", "retention.ms": "86400000"}


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    before = dict(registry._consumers)
    yield Consumer(name="mine", sync_delay_limit=timedelta(seconds=1))
    registry._consumers.clear()
    registry._consumers.update(before)


def ignore(delivery: Delivery[Noted]) -> None:
    """A handler."""


def test_a_consumer_reads_the_topics_of_what_it_handles(consumer: Consumer) -> None:
    assert consumer.topics == []
    assert handles(consumer, Noted)(ignore) is ignore
    assert consumer.topics == ["notes"]
    assert registry.get_consumer("mine") is consumer
    assert registry.subscribers("notes") == [consumer]


def test_two_consumers_or_two_handlers_of_a_kind_are_refused(consumer: Consumer) -> None:
    handles(consumer, Noted)(ignore)
    with pytest.raises(ConsumerMisdeclared, match=r"tests\.Noted\.v1 twice"):
        handles(consumer, Noted)(ignore)
    with pytest.raises(ConsumerMisdeclared, match="'mine'"):
        Consumer(name="mine", sync_delay_limit=timedelta(seconds=1))


def test_an_unknown_consumer_is_told_which_there_are() -> None:
    with pytest.raises(UnknownConsumer, match="loyalty, orders"):
        registry.get_consumer("nobody")


def test_a_setting_that_does_not_exist_is_named(settings: Settings) -> None:
    settings.OUTBOX = {"RELAY_PAGES": 3}
    config.cache_clear()
    try:
        with pytest.raises(ImproperlyConfigured, match="RELAY_PAGES"):
            config()
    finally:
        config.cache_clear()
