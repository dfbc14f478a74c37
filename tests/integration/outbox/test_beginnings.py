"""The first sight of a key: its baseline, or a gap where the topic has been read from its first record on."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from outbox.config import config
from outbox.consumer_models import TopicBeginning
from outbox.kafka import Cluster
from outbox.models import DeadLetter, ParkedKey
from outbox.repair.acts import Operator
from outbox.repair.keys import release
from tests.engine import send, until
from tests.integration.outbox.listeners import Listener, instance, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def parked(listener: Listener) -> list[tuple[str, str]]:
    return list(
        ParkedKey.objects.filter(consumer=listener.consumer.name).order_by("key").values_list("key", "cause")
    )


def is_whole(listener: Listener) -> bool:
    return TopicBeginning.objects.get(consumer=listener.consumer.name, topic=listener.topic.name).is_whole


def test_where_partitions_were_raised_before_its_first_record_was_read_a_key_is_in_order(
    listener: Listener,
) -> None:
    """Its later events are in the partition that is further ahead."""
    with instance(listener):
        send(*notes(listener, "a", "3", "4", partition=1, first=3), *notes(listener, "b", "b1", partition=1))
        until(lambda: listener.processed() == 1)
        assert parked(listener) == [("a", "gap")]
        assert is_whole(listener)
        send(*notes(listener, "a", "1", "2", partition=0))
        until(lambda: listener.processed() == 5)
    assert [call for call in listener.calls if call != "b1"] == ["1", "2", "3", "4"]
    assert parked(listener) == []
    assert not DeadLetter.objects.exists()


def test_where_records_had_been_deleted_a_key_begins_where_it_is_first_seen(listener: Listener) -> None:
    send(*notes(listener, "a", "1", "2", partition=0))
    admin = AdminClient({**config().kafka})
    for future in admin.delete_records([TopicPartition(listener.topic.name, 0, 2)]).values():
        future.result()
    send(*notes(listener, "a", "3", "4", partition=0, first=3))
    with instance(listener):
        until(lambda: listener.processed() == 2)
    assert not is_whole(listener)
    assert parked(listener) == []


def test_a_group_that_had_begun_elsewhere_misses_nothing_of_what_came_before(listener: Listener) -> None:
    send(*notes(listener, "a", "1", "2", partition=0))
    Cluster(config().kafka).set_committed(listener.consumer.name, {(listener.topic.name, 0): 1})
    with instance(listener):
        until(lambda: listener.processed() == 1)
        assert not is_whole(listener)
    assert listener.calls == ["2"]


def test_how_it_began_is_said_once_also_when_records_are_deleted_later(listener: Listener) -> None:
    with instance(listener):
        send(*notes(listener, "a", "1", "2", partition=0))
        until(lambda: listener.processed() == 2)
    admin = AdminClient({**config().kafka})
    for future in admin.delete_records([TopicPartition(listener.topic.name, 0, 2)]).values():
        future.result()
    with instance(listener):
        send(*notes(listener, "b", "b2", partition=0, first=2))
        until(lambda: parked(listener) == [("b", "gap")])
        assert is_whole(listener)
        release(
            parked_id=ParkedKey.objects.get(key="b").id,
            operator=Operator("anna", "its first event is lost"),
        )
        until(lambda: listener.processed() == 3)
    assert parked(listener) == []
