"""A consumer's loop against a real Kafka: what it does when its work fails."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from outbox import NonRecoverable
from outbox.aside import Aside
from outbox.config import config
from outbox.consumer_models import PartitionOwner
from outbox.errors import OverlappingConsumer
from outbox.kafka import Cluster, Record
from outbox.models import DeadLetter, InboxEntry, ParkedKey, WaitingEvent
from outbox.processor import Processor
from outbox.registry import Route
from tests.engine import send, until
from tests.integration.outbox.listeners import Listener, instance, members, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def test_it_consumes_what_was_there_and_what_comes_and_commits_its_offsets(listener: Listener) -> None:
    send(*notes(listener, "a", "1", "2"))
    with instance(listener):
        until(lambda: listener.processed() == 2)
        send(*notes(listener, "b", "3", partition=1))
        until(lambda: listener.processed() == 3)
    assert listener.calls == ["1", "2", "3"]
    places = [(listener.topic.name, part) for part in (0, 1)]
    assert Cluster(config().kafka).committed(listener.consumer.name, places) == {
        (listener.topic.name, 0): 2,
        (listener.topic.name, 1): 1,
    }
    with instance(listener):
        send(*notes(listener, "b", "4", partition=1, first=2))
        until(lambda: listener.processed() == 4)
    assert listener.calls == ["1", "2", "3", "4"]


def test_a_recoverable_error_is_retried_for_as_long_as_it_takes_and_never_counted(listener: Listener) -> None:
    away = 7
    listener.fail = lambda _: OperationalError("server away") if len(listener.calls) <= away else None
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: listener.processed() == 1, seconds=60)
    assert listener.calls == ["1"] * (away + 1)
    assert not DeadLetter.objects.exists()


def test_an_unknown_error_is_retried_a_few_times_and_then_set_aside(listener: Listener) -> None:
    listener.fail = lambda text: ValueError("a bug") if text == "bad" else None
    with instance(listener):
        send(*notes(listener, "a", "bad", "behind"), *notes(listener, "b", "1", "2"))
        until(lambda: InboxEntry.objects.count() == 4)
    letter = DeadLetter.objects.get()
    assert (letter.cause, letter.error, letter.attempts) == ("ValueError", "a bug", config().unknown_retries)
    assert listener.calls.count("bad") >= config().unknown_retries
    assert sorted(set(listener.calls)) == ["1", "2", "bad"]
    assert listener.processed() == 2


def test_an_unknown_error_that_passes_leaves_nothing_behind(listener: Listener) -> None:
    listener.fail = lambda _: ValueError("once") if len(listener.calls) < 2 else None
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: listener.processed() == 1)
    assert not DeadLetter.objects.exists()


def test_a_refusal_is_set_aside_at_once(listener: Listener) -> None:
    class NoSuchCustomer(NonRecoverable):
        """The customer does not exist."""

    listener.fail = lambda text: NoSuchCustomer() if text == "bad" else None
    with instance(listener):
        send(*notes(listener, "a", "bad"))
        until(lambda: InboxEntry.objects.count() == 1)
        send(*notes(listener, "b", "good"))
        until(lambda: listener.processed() == 1)
    letter = DeadLetter.objects.get()
    assert (letter.cause, letter.error, letter.attempts) == (
        "NoSuchCustomer",
        "The customer does not exist.",
        1,
    )
    assert listener.calls == ["bad", "good"]


@pytest.mark.parametrize("first", [ValueError("a bug"), OverlappingConsumer()])
def test_a_refusal_after_another_failure_is_set_aside_too(listener: Listener, first: Exception) -> None:
    def fail(text: str) -> Exception | None:
        if text != "bad":
            return None
        return first if listener.calls.count("bad") == 1 else Refused()

    class Refused(NonRecoverable):
        """No."""

    listener.fail = fail
    with instance(listener):
        send(*notes(listener, "a", "bad"))
        until(lambda: DeadLetter.objects.exists())
        send(*notes(listener, "b", "good"))
        until(lambda: listener.processed() == 1)
    assert DeadLetter.objects.get().cause == "Refused"


@pytest.mark.parametrize("partition", [0, 1])
def test_a_rebalance_in_the_middle_of_a_wait_leaves_no_instance_waiting(
    listener: Listener, partition: int
) -> None:
    """What the first instance waits for may go to the second: both must go on."""
    away = threading.Event()
    away.set()
    listener.fail = lambda text: OperationalError("away") if text == "waits" and away.is_set() else None
    with instance(listener):
        send(*notes(listener, "a", "waits", partition=partition))
        until(lambda: len(listener.calls) > 2)
        tried = len(listener.calls)
        with instance(listener):
            until(lambda: len(members(listener)) == 2)
            until(lambda: len(listener.calls) > tried)
            away.clear()
            until(lambda: listener.processed() == 1)
            send(*notes(listener, "b", "0"), *notes(listener, "c", "1", partition=1))
            until(lambda: listener.processed() == 3)


def test_garbage_in_kafka_stops_nothing(listener: Listener) -> None:
    moment, topic = datetime.now(UTC), listener.topic.name
    garbage = [
        Record(topic, 0, 0, None, b"", [], moment),
        Record(topic, 0, 0, b"\xff\xfe", b"\x00\x01\x02", [("ce_id", b"\xff")], moment),
        Record(topic, 0, 0, b"k", b"<script>alert(1)</script>", [("ce_type", None)], moment),
        Record(topic, 0, 0, b"k", b"x" * 900_000, [("", b"")], moment),
    ]
    with instance(listener):
        send(*garbage, *notes(listener, "a", "good"))
        until(lambda: listener.processed() == 1)
    assert DeadLetter.objects.count() == 3
    assert WaitingEvent.objects.count() == 1  # the second record of the key k
    assert listener.calls == ["good"]


def test_when_not_even_the_dead_letter_can_be_written_it_waits_and_skips_nothing(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[None] = []
    bury = Aside.bury

    def fail_at_first(aside: Aside, *arguments: Any, **options: Any) -> None:
        tries.append(None)
        if len(tries) < 4:
            raise ValueError("no room")
        bury(aside, *arguments, **options)

    monkeypatch.setattr(Aside, "bury", fail_at_first)
    garbage = Record(listener.topic.name, 0, 0, b"k", b"?", [], datetime.now(UTC))
    with instance(listener):
        send(garbage, *notes(listener, "a", "good"))
        until(lambda: listener.processed() == 1)
    assert DeadLetter.objects.count() == 1


def test_two_instances_share_the_partitions_and_survive_each_other(listener: Listener) -> None:
    with instance(listener):
        send(*notes(listener, "a", *map(str, range(50))), *notes(listener, "b", *"xyz", partition=1))
        until(lambda: listener.processed() == 53)
        with instance(listener):
            send(
                *notes(listener, "a", *map(str, range(50, 100)), first=51),
                *notes(listener, "b", *"uvw", partition=1, first=4),
            )
            until(lambda: listener.processed() == 106)
        send(*notes(listener, "b", "last", partition=1, first=7))
        until(lambda: listener.processed() == 107)
    assert [call for call in listener.calls if call.isdigit()] == list(map(str, range(100)))
    assert [call for call in listener.calls if not call.isdigit()] == [*"xyzuvw", "last"]


def test_it_stops_in_the_middle_of_a_wait(listener: Listener) -> None:
    listener.fail = lambda _: OperationalError("server away")
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: len(listener.calls) > 3)
    listener.fail = lambda _: None
    with instance(listener):
        until(lambda: listener.processed() == 1)


def test_it_stops_in_the_middle_of_a_batch(listener: Listener) -> None:
    """What has been begun is finished and committed; the rest is for whoever comes next."""
    texts = [str(number) for number in range(10)]
    send(*notes(listener, "a", *texts))
    with instance(listener) as running:
        listener.fail = lambda text: running._stop.set() if text == "4" else None
        until(lambda: listener.processed() > 0)
    assert listener.processed() == 5
    with instance(listener):
        until(lambda: listener.processed() == 10)
    assert listener.calls == texts


def test_a_batch_that_takes_longer_than_kafka_waits_loses_no_partition(
    listener: Listener, settings: Settings
) -> None:
    """It waits for three times half a second and the longest that a call may take: nineteen and a half."""
    settings.OUTBOX = {**settings.OUTBOX, "BATCH_SECONDS": 0.5}
    config.cache_clear()
    never = threading.Event()
    listener.fail = lambda text: KeyError(text) if never.wait(1.3) else None
    listener.consumer.routes[listener.event.type] = Route(
        listener.event, listener.handle, limit=timedelta(seconds=2)
    )
    texts = [str(number) for number in range(16)]
    send(*notes(listener, "a", *texts))
    with instance(listener):
        until(lambda: listener.calls)
        owned = dict(PartitionOwner.objects.values_list("partition", "taken_at"))
        until(lambda: listener.processed() == len(texts))
        assert dict(PartitionOwner.objects.values_list("partition", "taken_at")) == owned
        until(lambda: _committed(listener) == len(texts))
        assert dict(PartitionOwner.objects.values_list("partition", "taken_at")) == owned
    assert listener.calls == texts


def _committed(listener: Listener) -> int:
    place = (listener.topic.name, 0)
    return Cluster(config().kafka).committed(listener.consumer.name, [place]).get(place, 0)


def test_what_another_instance_had_no_time_for_is_gone_on_with(listener: Listener) -> None:
    """It closed a gap, and was stopped before what waited behind that had its turn."""
    one, two, three, four = notes(listener, "a", "1", "2", "3", "4")
    processor = Processor(listener.consumer)
    processor.run([one, three, four])
    assert processor.run([two], until=0.0).is_due
    with instance(listener):
        until(lambda: listener.processed() == 4)
    assert listener.calls == ["1", "2", "3", "4"]
    assert not ParkedKey.objects.exists()
