"""Watching a topic from its end."""

from collections.abc import Iterator

import pytest

from devstack.stack import Stack
from outbox import Topic
from outbox.config import config
from outbox.kafka import BrokerError, Record, TailReader
from outbox.kafka.onlooking import onlooker
from tests.engine import new_topic, send, until

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]


@pytest.fixture
def topic() -> Topic:
    return new_topic(partitions=2)


@pytest.fixture
def reader(topic: Topic) -> Iterator[TailReader]:
    reader = TailReader(config().kafka, topics=[topic.name], last=2)
    yield reader
    reader.close()


def write(topic: Topic, *texts: str, partition: int = 0) -> None:
    send(*(Record(topic.name, partition, 0, b"k", text.encode(), [], None) for text in texts))


def read(reader: TailReader, *, count: int) -> list[str]:
    """The values of so many records."""
    found: list[Record] = []

    def enough() -> bool:
        found.extend(reader.poll(limit=100, timeout=0.2))
        return len(found) >= count

    until(enough, seconds=30)
    return [(record.value or b"").decode() for record in found]


def test_it_begins_so_many_records_before_the_end_of_each_partition(topic: Topic, reader: TailReader) -> None:
    write(topic, "1", "2", "3", partition=0)
    write(topic, "4", partition=1)
    assert sorted(read(reader, count=3)) == ["2", "3", "4"]
    write(topic, "5", partition=1)
    assert read(reader, count=1) == ["5"]


def test_two_readers_see_every_record_each(topic: Topic, reader: TailReader) -> None:
    other = TailReader(config().kafka, topics=[topic.name])
    assert reader.poll(limit=1, timeout=0.1) == other.poll(limit=1, timeout=0.1) == []
    write(topic, "1")
    assert read(reader, count=1) == read(other, count=1) == ["1"]
    other.close()


def test_a_topic_that_is_not_there_is_said_and_may_be_there_later(engine: None) -> None:
    reader = TailReader(config().kafka, topics=["nowhere"])
    with pytest.raises(BrokerError, match=r"(?i)unknown topic"):
        reader.poll(limit=1, timeout=0.1)
    reader.close()


def test_it_goes_on_after_the_broker_was_away(topic: Topic, reader: TailReader, stack: Stack) -> None:
    write(topic, "before")
    assert read(reader, count=1) == ["before"]
    stack.kafka.kill()
    reader.poll(limit=1, timeout=0.5)
    stack.kafka.start()
    write(topic, "after")
    assert read(reader, count=1) == ["after"]


def test_a_client_that_has_lost_all_brokers_is_replaced(
    topic: Topic, reader: TailReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that a broker has told, when it woke up, that there was none."""
    monkeypatch.setattr("outbox.kafka.tail.ASK_AFTER", 0.5)
    write(topic, "before")
    assert read(reader, count=1) == ["before"]
    reader._client.close()
    reader._client = onlooker({"bootstrap.servers": "127.0.0.1:1"}, "tail", {})
    write(topic, "meanwhile")
    until(lambda: said_away(reader), seconds=30)
    assert read(reader, count=1) == ["meanwhile"]


def test_a_kafka_that_is_away_for_long_is_said(
    topic: Topic, reader: TailReader, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.kafka.tail.ASK_AFTER", 0.5)
    write(topic, "before")
    assert read(reader, count=1) == ["before"]
    stack.kafka.kill()
    silent = [said_away(reader) for _ in range(30)]
    assert silent[-3:] == [True, True, True]
    stack.kafka.start()
    until(lambda: not said_away(reader), seconds=60)
    write(topic, "after")
    assert read(reader, count=1) == ["after"]


def said_away(reader: TailReader) -> bool:
    try:
        reader.poll(limit=1, timeout=0.2)
    except BrokerError:
        return True
    return False
