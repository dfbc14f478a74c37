"""A member of a consumer group: what it fetches as partitions come and go."""

from contextlib import closing
from uuid import uuid4

import pytest

from outbox.config import config
from outbox.kafka import GroupReader, Record
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
