"""An event that kills its process is found and set aside; nothing else is lost, doubled or held up."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import Mock
from uuid import uuid4

import psutil
import pytest
from django.db import OperationalError, connection

from outbox import Topic
from outbox.consumer_models import PartitionOwner
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, OutboxEvent, ParkedKey, WaitingEvent
from outbox.suspects import DEATHS, Suspects
from tests.engine import Noted, new_topic, noted_on, record_of, send, until
from tests.integration.outbox.listeners import Listener, instance, notes
from tests.servers import PROJECT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a consumer's process; all end with the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(topic: Topic, consumer: str, **environment: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.outbox.deadly", topic.name, consumer],
            cwd=PROJECT,
            env={**os.environ, **environment, "TEST_DATABASE": str(connection.settings_dict["NAME"])},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def _ended_or(process: "subprocess.Popen[bytes]", done: Callable[[], bool]) -> bool:
    return process.poll() is not None or done()


@pytest.mark.parametrize("way", ["kill", "exit", "abort", "stuck"])
def test_the_event_that_kills_its_process_is_set_aside_after_three_deaths(start: Start, way: str) -> None:
    topic, consumer = new_topic(partitions=2), f"deadly-{uuid4().hex[:8]}"
    event = noted_on(topic)
    records: list[Record] = []
    for number in range(1, 61):
        for key in ("a", "b", "c", "d"):
            text = way if (key, number) == ("c", 31) else ""
            records.append(record_of(event(about=key, text=text), number=number, partition=ord(key) % 2))
    send(*records)
    deaths = 0

    def done() -> int:
        return InboxEntry.objects.filter(consumer=consumer).count()

    while done() < len(records):
        process = start(topic, consumer)
        until(partial(_ended_or, process, lambda: done() == len(records)), seconds=90)
        deaths += process.poll() is not None
        assert deaths <= DEATHS
    assert deaths == DEATHS
    letter = DeadLetter.objects.get()
    assert (letter.cause, letter.key, letter.number, letter.attempts) == ("ProcessDied", "c", 31, DEATHS)
    assert "3 processes died with this event in hand" in letter.error
    outcomes = Counter(InboxEntry.objects.values_list("outcome", flat=True))
    assert outcomes == {"processed": 210, "dead": 1, "parked": 29}
    assert ParkedKey.objects.get().key == "c"
    assert list(WaitingEvent.objects.order_by("id").values_list("number", flat=True)) == [*range(32, 61)]
    # Stopped in order it leaves nothing to be careful about.
    process.terminate()
    assert process.wait(30) == 0
    assert not PartitionOwner.objects.exists()


def test_of_events_that_a_gap_held_back_the_one_that_kills_is_blamed(start: Start) -> None:
    """Not the one that closed the gap: that is innocent, and is processed."""
    topic, consumer = new_topic(partitions=2), f"deadly-{uuid4().hex[:8]}"
    event = noted_on(topic)

    def note(number: int) -> Record:
        return record_of(event(about="a", text="kill" if number == 33 else ""), number=number)

    send(note(1), *map(note, range(3, 41)), note(2), note(41))
    deaths = 0

    def done() -> bool:
        outcomes = InboxEntry.objects.filter(consumer=consumer).values_list("outcome", flat=True)
        return Counter(outcomes) == {"processed": 32, "dead": 1, "parked": 8}

    while not done():
        process = start(topic, consumer)
        until(partial(_ended_or, process, done), seconds=90)
        deaths += process.poll() is not None
        assert deaths <= DEATHS
    assert deaths == DEATHS
    letter = DeadLetter.objects.get()
    assert (letter.cause, letter.number, letter.attempts) == ("ProcessDied", 33, DEATHS)
    assert ParkedKey.objects.get().event_id == letter.event_id
    process.terminate()
    assert process.wait(30) == 0


def test_a_healthy_instance_marks_nothing_and_leaves_nothing(listener: Listener) -> None:
    with instance(listener):
        send(*notes(listener, "a", *map(str, range(50))))
        until(lambda: listener.processed() == 50)
        assert set(PartitionOwner.objects.values_list("in_hand", flat=True)) == {None}
    assert not PartitionOwner.objects.exists()


def test_after_an_unclean_end_all_is_run_and_no_harmless_event_is_blamed(listener: Listener) -> None:
    """Another instance died with these events in hand, of something else."""
    frozen = Suspects(listener.consumer.name, width=500, using="default")
    frozen.gain({(listener.topic.name, 0), (listener.topic.name, 1)})
    frozen.take()
    listener.fail = lambda text: OperationalError("away") if listener.calls.count(text) < 3 else None
    with instance(listener):
        send(*notes(listener, "a", "1", "2", "3"), *notes(listener, "b", "4", partition=1))
        until(lambda: listener.processed() == 4, seconds=60)
        assert not DeadLetter.objects.exists()
        # Woken up, the other one lets go of what is not its own any more: nothing.
        frozen.release({(listener.topic.name, 0)})
        assert PartitionOwner.objects.count() == 2


def test_what_failed_and_came_back_is_no_death(listener: Listener) -> None:
    """However often the instance is killed while it waits, not while the event is in hand."""
    [record] = notes(listener, "a", "1")
    place = (record.topic, record.partition)

    def begin() -> Suspects:
        suspects = Suspects(listener.consumer.name, width=10, using="default")
        suspects.gain({place})
        suspects.take()
        assert suspects.begin(record) is None
        return suspects

    first = Suspects(listener.consumer.name, width=10, using="default")
    first.gain({place})
    first.take()
    for _ in range(DEATHS + 2):
        begin().absolve()
    begin()
    begin()
    last = Suspects(listener.consumer.name, width=10, using="default")
    last.gain({place})
    last.take()
    assert last.begin(record) is not None


def test_a_database_that_goes_away_again_and_again_is_no_death(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it cannot be written that the event was not what ended its process."""
    [record] = notes(listener, "a", "1")
    another, suspects = [Suspects(listener.consumer.name, width=10, using="default") for _ in range(2)]
    for one in (another, suspects):
        one.gain({(record.topic, record.partition)})
        one.take()
    for _ in range(DEATHS + 2):
        assert suspects.begin(record) is None
        with monkeypatch.context() as away:
            away.setattr(Suspects, "_mark", Mock(side_effect=OperationalError("away")))
            suspects.absolve()


def test_an_instance_that_freezes_with_a_batch_in_hand_holds_up_nobody(
    start: Start,
) -> None:
    """In the midst of its transaction, with locks in hand; it wakes when its partitions are another's."""
    topic, consumer = new_topic(partitions=2), f"frozen-{uuid4().hex[:8]}"
    event = noted_on(topic)

    def effects(first: int, last: int, *, frozen: int | None = None) -> list[Record]:
        texts = {number: f"effect {number}" for number in range(first, last)}
        texts |= {} if frozen is None else {frozen: "effect of the frozen"}
        return [record_of(event(about="a", text=text), number=number) for number, text in texts.items()]

    def done() -> int:
        return InboxEntry.objects.filter(consumer=consumer, outcome="processed").count()

    first = start(topic, consumer, FREEZE="1")
    send(*effects(1, 5))
    until(lambda: done() == 4, seconds=60)
    send(*effects(5, 20, frozen=9))
    until(lambda: psutil.Process(first.pid).status() == psutil.STATUS_STOPPED, seconds=60)
    second = start(topic, consumer)
    until(lambda: done() == 19, seconds=90)
    first.send_signal(signal.SIGCONT)
    send(*effects(20, 40))
    until(lambda: done() == 39, seconds=60)
    for process in (first, second):
        process.terminate()
        assert process.wait(30) == 0
    assert done() == 39
    assert not DeadLetter.objects.exists()
    published = OutboxEvent.objects.filter(key="effects").order_by("number")
    texts = [Noted.from_json(bytes(one.payload)).text for one in published]  # type: ignore[attr-defined]
    assert texts == [f"effect {n}" if n != 9 else "effect of the frozen" for n in range(1, 40)]
