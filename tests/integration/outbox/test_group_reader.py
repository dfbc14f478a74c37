"""A member of a consumer group: what it fetches as partitions come and go."""

from contextlib import closing
from uuid import uuid4

import pytest
from confluent_kafka import Consumer as Client
from confluent_kafka import Producer, TopicPartition

from outbox.config import config
from outbox.kafka import Cluster, GroupReader, Record
from outbox.kafka.base import client_options
from tests.engine import new_topic, noted_on, record_of, send, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def test_what_was_lost_while_nothing_was_fetched_is_read_when_it_comes_back() -> None:
    """librdkafka keeps a partition paused for as long as its client lives, whoever reads it meanwhile."""
    topic = new_topic(partitions=2)
    event, group = noted_on(topic), f"held-{uuid4().hex[:8]}"

    def member() -> GroupReader:
        return GroupReader(config().kafka, group=group, topics=[topic.name], on_lost=lambda _: None)

    def polled(reader: GroupReader) -> list[Record]:
        return reader.poll(limit=10, timeout=0.1)

    with closing(member()) as reader:
        until(lambda: polled(reader) or len(reader.assignment()) == 2)
        reader.hold()
        with closing(member()) as other:
            until(lambda: polled(reader) or polled(other) or len(reader.assignment()) == 1)
            reader.release()
        until(lambda: polled(reader) or len(reader.assignment()) == 2)
        send(*[record_of(event(about=f"k{n}"), number=1, partition=n) for n in range(2)])
        read: list[Record] = []

        def both() -> bool:
            read.extend(polled(reader))
            return len(read) == 2

        until(both, seconds=20)
    assert {record.partition for record in read} == {0, 1}


def test_however_many_marks_of_transactions_are_passed_over_kafka_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each transaction leaves a mark after its records, at an offset that is never read."""
    questions: list[TopicPartition] = []

    class Counting(Client):
        def get_watermark_offsets(
            self, partition: TopicPartition, timeout: float = 5, cached: bool = False
        ) -> tuple[int, int]:
            questions.append(partition)
            return super().get_watermark_offsets(partition, timeout=timeout, cached=cached)

    topic = new_topic(partitions=1)
    place = (topic.name, 0)
    producer = Producer(client_options(config().kafka, **{"transactional.id": f"many-{uuid4().hex[:8]}"}))
    producer.init_transactions(30)
    for n in range(10):
        producer.begin_transaction()
        producer.produce(topic.name, value=str(n).encode(), partition=0)
        producer.commit_transaction(30)
    assert Cluster(config().kafka).watermarks([place]) == {place: 20}

    monkeypatch.setattr("outbox.kafka.reader.Client", Counting)
    group, polls = f"marks-{uuid4().hex[:8]}", 0
    read: list[Record] = []
    with closing(
        GroupReader(config().kafka, group=group, topics=[topic.name], on_lost=lambda _: None)
    ) as reader:

        def all_read() -> bool:
            nonlocal polls
            before = len(read)
            read.extend(reader.poll(limit=100, timeout=0.1))
            polls += len(read) > before
            return len(read) == 10

        until(all_read)
        assert reader.take_losses() == []
    assert [record.offset for record in read] == [*range(0, 20, 2)]
    # The first record that is polled may come by itself.
    assert 1 <= len(questions) <= polls


def test_a_member_joins_anew_once_kafka_has_left_it_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers that start leave out members that they have, for a moment."""
    monkeypatch.setattr("outbox.kafka.reader.ASK_AFTER", 0.1)
    monkeypatch.setattr("outbox.kafka.reader.ASK_AGAIN", 0.1)
    topic, group = new_topic(partitions=1), f"idle-{uuid4().hex[:8]}"
    cluster = Cluster(config().kafka)

    def member() -> GroupReader:
        return GroupReader(config().kafka, group=group, topics=[topic.name], on_lost=lambda _: None)

    with closing(member()) as busy, closing(member()) as idle:

        def polled() -> bool:
            return bool(busy.poll(limit=1, timeout=0.05) or idle.poll(limit=1, timeout=0.05))

        until(lambda: polled() or len(cluster.member_ids(group)) == 2)
        until(lambda: polled() or len(busy.assignment()) + len(idle.assignment()) == 1)
        before, said = cluster.member_ids(group), Cluster.member_ids
        lists = [set[str](), before, set(), before]

        def left_out_in_turn(self: Cluster, name: str) -> set[str]:
            return lists.pop(0) if lists else said(self, name)

        monkeypatch.setattr(Cluster, "member_ids", left_out_in_turn)
        until(lambda: polled() or not lists)
        polled()
        assert said(cluster, group) == before
        monkeypatch.setattr(Cluster, "member_ids", lambda *_: set())
        until(lambda: polled() or said(cluster, group) - before)
