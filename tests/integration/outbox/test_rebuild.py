"""A projection is built again beside the live one and replaces it: nothing lost, nothing counted twice."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction

from outbox import (
    Consumer,
    Delivery,
    NonRecoverable,
    Topic,
    generations,
    handles_batch,
    publish,
    registry,
    succession,
)
from outbox.clearing import abandon, clear
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.errors import HistoryGone, NotAProjection, NothingToAbandon, PublishWhileBuilding, RebuildUnderWay
from outbox.generations import generations_of, hold_live, live_generation
from outbox.kafka import BrokerError, Cluster, GroupReader, Record
from outbox.models import DeadLetter, Generation, InboxEntry, KeyProgress, ParkedKey, WaitingEvent
from outbox.processor import Processor, Ran
from outbox.progress import Progress
from outbox.rebuild import Rebuild
from outbox.repair import letters
from outbox.repair.acts import Act, Operator, acts_of
from outbox.repair.following import follow, is_to_follow
from outbox.seeking import seek
from tests.engine import Noted, Running, Writer, new_topic, noted_on, record_of, send, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all that reads the clock is one process."""
    monkeypatch.setattr("outbox.rebuild.CLOCKS", timedelta(0))


class Refused(NonRecoverable):
    """The domain says no."""


class Tally:
    """A projection: how often each day's events said each text."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.event = noted_on(topic)
        self.bad: set[str] = set()
        self.taken_over: list[tuple[datetime | None, datetime]] = []
        self.publishes = False
        self.gate = threading.Event()
        self.gate.set()
        self.consumer = Consumer(
            name=f"tally-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5), projection=self
        )
        handles_batch(self.consumer, self.event)(self.count)

    def count(self, deliveries: list[Delivery[Noted]]) -> None:
        for delivery in deliveries:
            if delivery.generation > 1:
                self.gate.wait(30)
            if delivery.event.text in self.bad:
                raise Refused(delivery.event.text)
            if self.publishes:
                publish(Noted(about="answer"))
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO tally VALUES (%s, %s, %s, 1) ON CONFLICT (generation, day, text)"
                    " DO UPDATE SET count = tally.count + 1",
                    [delivery.generation, delivery.occurred_at.date(), delivery.event.text],
                )

    def take_over(self, *, old: int, new: int, start: datetime | None, end: datetime) -> None:
        self.taken_over.append((start, end))
        first = date.min if start is None else start.date()
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM tally WHERE generation = %s AND day >= %s AND day < %s", [new, first, end.date()]
            )
            cursor.execute(
                "INSERT INTO tally SELECT %s, day, text, count FROM tally"
                " WHERE generation = %s AND day >= %s AND day < %s",
                [new, old, first, end.date()],
            )

    def discard(self, *, generation: int, limit: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM tally WHERE ctid = ANY(ARRAY("
                "SELECT ctid FROM tally WHERE generation = %s LIMIT %s))",
                [generation, limit],
            )
            return int(cursor.rowcount)

    def counts(self, generation: int | None = None) -> dict[str, int]:
        """What is shown: the live generation's counts by text."""
        if generation is None:
            generation = live_generation(self.consumer.name)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT text, sum(count)::int FROM tally WHERE generation = %s GROUP BY 1", [generation]
            )
            return dict(cursor.fetchall())

    def spoil(self) -> None:
        """Make all counts wrong, between two batches: their rows would be locked crosswise."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("LOCK TABLE tally IN EXCLUSIVE MODE")
            cursor.execute("UPDATE tally SET count = count + 1000")

    def states(self) -> list[tuple[int, str]]:
        return generations_of(self.consumer)

    def record(self, about: str, text: str, *, number: int = 1, partition: int = 0) -> Record:
        return record_of(self.event(about=about, text=text), number=number, partition=partition)

    def heard(self, *, generation: int = 1) -> int:
        return InboxEntry.objects.filter(consumer=self.consumer.name, generation=generation).count()


@pytest.fixture
def tally() -> Iterator[Tally]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE tally (generation smallint, day date, text text, count int,"
            " PRIMARY KEY (generation, day, text))"
        )
    before = dict(registry._consumers)
    yield Tally(new_topic(partitions=2))
    registry._consumers.clear()
    registry._consumers.update(before)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE tally")


def live(tally: Tally) -> Running:
    """An instance of the live consumer."""
    return Running(lambda stop: ConsumerWorker(tally.consumer, stop=stop))


class Rebuilding(Running):
    """A rebuild in a thread, as it would be in a process."""

    def __init__(self, tally: Tally) -> None:
        self.progress: list[Progress] = []
        super().__init__(lambda stop: _Whole(tally, stop, self.progress))

    def __enter__(self) -> "Rebuilding":
        super().__enter__()
        return self

    def finish(self) -> None:
        """Until it has swapped."""
        self._thread.join(60)
        assert not self._thread.is_alive()


class _Whole:
    def __init__(self, tally: Tally, stop: threading.Event, progress: list[Progress]) -> None:
        self._rebuild = Rebuild(tally.consumer, stop=stop, report=progress.append)

    def run(self) -> None:
        self._rebuild.run()


def rebuild(tally: Tally) -> list[Progress]:
    """The whole of it; returns what was reported."""
    told: list[Progress] = []
    assert Rebuild(tally.consumer, stop=threading.Event(), report=told.append).run()
    return told


def send_and_hear(tally: Tally, *records: Record) -> None:
    send(*records)
    awaited = tally.heard() + len(records)
    with live(tally):
        until(lambda: tally.heard() == awaited)


def test_what_was_broken_is_healed_and_the_old_is_cleared_away(tally: Tally) -> None:
    send_and_hear(tally, *[tally.record(f"k{n}", "x", partition=n % 2) for n in range(7)])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tally SET count = 99")
        cursor.execute("INSERT INTO tally VALUES (1, '2020-01-01', 'never said', 5)")
    told = rebuild(tally)
    assert tally.counts() == {"x": 7}
    assert tally.states() == [(2, "live")]
    assert tally.counts(1) == {}
    assert told[-1] == Progress(generation=2, read=7, records=7)
    for model in (InboxEntry, KeyProgress):
        assert {row.generation for row in model.objects.filter(consumer=tally.consumer.name)} == {2}
    groups = AdminClient({**config().kafka}).list_consumer_groups().result().valid
    assert f"{tally.consumer.name}.generation-2" not in {group.group_id for group in groups}
    rebuild(tally)
    assert (tally.counts(), tally.states()) == ({"x": 7}, [(3, "live")])


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ANNA = Operator("anna", "she knows why")


def _text_of(letter: DeadLetter) -> str:
    text: str = json.loads(bytes(letter.payload or b""))["text"]
    return text


def settle_all(tally: Tally) -> None:
    """What an operator does about the open letters, by their texts."""
    for letter in DeadLetter.objects.filter(consumer=tally.consumer.name, state="open").order_by("died_at"):
        text = "" if letter.cause == "MalformedRecord" else _text_of(letter)
        if text == "bad":
            data = tally.event(about="a", text="good").to_json()
            letters.replay(letter_id=letter.id, operator=ANNA, data=data)
        elif letter.cause == "LateEvent":
            letters.replay(letter_id=letter.id, operator=ANNA, late=True)
        else:
            letters.discard(letter_id=letter.id, operator=ANNA)


def test_what_operators_decided_holds_in_every_generation_that_follows(tally: Tally) -> None:
    """An event is corrected, one discarded, also an unreadable one, one run late, and one is skipped."""
    tally.bad = {"bad", "worse"}
    damaged = record_of(tally.event(about="c"), number=2, headers={"ce_time": b"yesterday"})
    send_and_hear(
        tally,
        *[tally.record("a", text, number=number) for number, text in enumerate(("a1", "bad", "a3"), start=1)],
        *[tally.record("b", text, number=number) for number, text in enumerate(("worse", "b2"), start=1)],
        tally.record("c", "c1"),
        damaged,
        tally.record("c", "c3", number=3),
        *[
            tally.record("d", text, number=number, partition=1)
            for text, number in (("d1", 1), ("d1, late", 1), ("d2", 2))
        ],
    )
    settle_all(tally)
    send(tally.record("e", "skipped"))
    time.sleep(0.01)
    seek(tally.consumer, to=datetime.now(UTC), by="anna", skip="a test run wrote it")
    expected = dict.fromkeys(("a1", "good", "a3", "b2", "c1", "c3", "d1", "d1, late", "d2"), 1)
    assert tally.counts() == expected
    for _ in range(2):
        rebuild(tally)
        assert tally.counts() == expected
        assert not DeadLetter.objects.exists()
        assert not ParkedKey.objects.exists()
        outcomes = InboxEntry.objects.filter(consumer=tally.consumer.name).values_list("outcome", flat=True)
        assert Counter(outcomes) == {"processed": 9, "discarded": 3}


def test_a_correction_holds_for_what_waited_while_the_new_one_was_built(tally: Tally) -> None:
    """The event that was corrected waits behind a gap that is closed by what comes after it."""
    tally.bad = {"bad"}
    send_and_hear(
        tally,
        *[tally.record("a", text, number=number) for number, text in ((1, "a1"), (3, "bad"), (2, "a2"))],
    )
    settle_all(tally)
    rebuild(tally)
    assert tally.counts() == {"a1": 1, "a2": 1, "good": 1}
    assert not DeadLetter.objects.exists()


def test_what_is_decided_while_the_new_one_is_built_holds_in_it(tally: Tally) -> None:
    tally.bad = {"bad", "worse"}
    send_and_hear(
        tally, tally.record("a", "bad"), tally.record("a", "a2", number=2), tally.record("b", "worse")
    )
    new = succession.begin(tally.consumer)
    with Running(lambda stop: ConsumerWorker(tally.consumer, stop=stop, building=new)):
        until(lambda: tally.heard(generation=new) == 3)
    assert not is_to_follow(tally.consumer, building=new, since=LONG_AGO)
    for letter in DeadLetter.objects.filter(generation=1):
        data = None if letter.key == "b" else tally.event(about="a", text="good").to_json()
        act = letters.discard if data is None else partial(letters.replay, data=data)
        act(letter_id=letter.id, operator=ANNA)
    assert is_to_follow(tally.consumer, building=new, since=LONG_AGO)
    rebuild(tally)
    assert tally.states() == [(new, "live")]
    assert tally.counts() == {"good": 1, "a2": 1}
    assert not DeadLetter.objects.filter(state="open").exists()
    acts = (
        Act.objects.filter(generation=new, via="worker")
        .order_by("id")
        .values_list("who", "via", "act", "result")
    )
    assert list(acts) == [
        ("anna", "worker", "replay", "replayed"),
        ("anna", "worker", "discard", "discarded"),
    ]


def test_what_dies_again_in_the_new_one_is_followed_once(tally: Tally) -> None:
    tally.bad = {"bad"}
    send_and_hear(tally, tally.record("a", "bad"))
    new = succession.begin(tally.consumer)
    with Running(lambda stop: ConsumerWorker(tally.consumer, stop=stop, building=new)):
        until(lambda: tally.heard(generation=new) == 1)
    tally.bad = set()
    letters.replay(letter_id=DeadLetter.objects.get(generation=1).id, operator=ANNA)
    tally.bad = {"bad"}
    for _ in range(2):
        follow(tally.consumer, building=new)
        assert not is_to_follow(tally.consumer, building=new, since=LONG_AGO)
    assert Act.objects.filter(generation=new).values_list("result", flat=True).get() == "died"


def test_who_had_it_built_or_given_up_is_written_down(tally: Tally) -> None:
    send_and_hear(tally, tally.record("a", "x"))
    succession.begin(tally.consumer)
    call_command(
        "consumers", "rebuild", tally.consumer.name, "--abandon", "--reason", "a typo", stdout=StringIO()
    )
    rebuild(tally)
    given_up, rebuilt = acts_of(tally.consumer.name, using="default")
    assert (given_up.act, given_up.result, given_up.why, given_up.via) == (
        "abandon",
        "abandoned",
        "a typo",
        "command",
    )
    assert given_up.detail == "Generation 2, half built, is given up."
    assert (rebuilt.act, rebuilt.result, rebuilt.via) == ("rebuild", "rebuilt", "python")
    assert (rebuilt.who != "", rebuilt.generation) == (True, tally.states()[0][0])
    assert "replaces generation 1." in rebuilt.detail


def test_live_instances_go_on_with_the_new_generation_and_know_what_it_has_read(tally: Tally) -> None:
    send_and_hear(tally, *[tally.record(f"k{n}", "x") for n in range(5)])
    behind = [tally.record(f"late{n}", "y") for n in range(3)]
    send(*behind)  # Kafka has them, the live consumer does not yet
    rebuild(tally)
    assert tally.counts() == {"x": 5, "y": 3}
    with live(tally):
        send(tally.record("new", "z"), behind[0])
        until(lambda: tally.counts().get("z") == 1)
    assert tally.counts() == {"x": 5, "y": 3, "z": 1}
    place = (tally.topic.name, 0)
    assert Cluster(config().kafka).committed(tally.consumer.name, [place])[place] >= 9


class _Traffic:
    """Records of two partitions, and now and then one again; all of it noted."""

    def __init__(self, tally: Tally, stop: threading.Event) -> None:
        self._tally = tally
        self._stop = stop
        self.sent: list[Record] = []
        self.expected: Counter[str] = Counter()

    def run(self) -> None:
        number = 0
        while not self._stop.is_set():
            batch = []
            for _ in range(20):
                number += 1
                text = f"t{number % 5}"
                batch.append(self._tally.record(f"k{number}", text, partition=number % 2))
                self.expected[text] += 1
            again = [self.sent[number % len(self.sent)]] if self.sent else []
            send(*batch, *again)
            self.sent.extend(batch)


def test_traffic_flows_and_two_instances_consume_all_the_while(tally: Tally) -> None:
    traffic: list[_Traffic] = []

    def begin(stop: threading.Event) -> _Traffic:
        traffic.append(_Traffic(tally, stop))
        return traffic[0]

    with live(tally), live(tally):
        with Running(begin):
            until(lambda: tally.heard() > 200)
            tally.spoil()
            with Rebuilding(tally) as rebuilding:
                until(lambda: live_generation(tally.consumer.name) == 2, seconds=60)
                rebuilding.finish()
            seen = len(traffic[0].sent)
            until(lambda: len(traffic[0].sent) > seen + 100)
        until(lambda: tally.heard(generation=2) == len(traffic[0].sent))
    assert tally.counts() == dict(traffic[0].expected)
    assert not DeadLetter.objects.filter(consumer=tally.consumer.name).exists()


@pytest.mark.parametrize("about", ["k", "another key"])
def test_what_the_live_one_comes_to_meanwhile_is_not_taken_for_gone(
    tally: Tally, monkeypatch: pytest.MonkeyPatch, about: str
) -> None:
    """Kafka was asked for its end, then an event came that the live generation is the first to process."""
    send_and_hear(tally, tally.record("k", "x"))
    horizon = Rebuild._horizon
    told: list[datetime | None] = []

    wait_for = until

    def horizon_after_an_event(self: Rebuild, old: int, *, until: datetime) -> datetime | None:
        if not told:
            tally.gate.clear()
            send(tally.record(about, "y", number=2 if about == "k" else 1))
            wait_for(partial(_has_heard, tally, 2))
        told.append(horizon(self, old, until=until))
        tally.gate.set()
        return told[-1]

    monkeypatch.setattr(Rebuild, "_horizon", horizon_after_an_event)
    with live(tally):
        rebuild(tally)
    assert told[0] is None
    assert tally.counts() == {"x": 1, "y": 1}


def _has_heard(tally: Tally, count: int) -> bool:
    return tally.heard() == count


def test_it_waits_for_a_batch_under_way_and_the_next_waits_for_it(tally: Tally) -> None:
    """Neither is on the wrong side of the swap."""
    send_and_hear(tally, tally.record("k", "x"))
    with Writer() as batch:
        batch.begin()
        held = batch.call(lambda: hold_live(tally.consumer.name))
        assert held.number == 1
        with Rebuilding(tally) as rebuilding:
            until(lambda: rebuilding.progress and rebuilding.progress[-1].read == 1)
            until(_somebody_waits)
            assert live_generation(tally.consumer.name) == 1
            with Writer() as following:
                following.begin()
                following.call(lambda: hold_live(tally.consumer.name), wait=False)
                batch.end()
                rebuilding.finish()
                # Its lock came after the swap's, and so does what it reads.
                assert following.call(lambda: hold_live(tally.consumer.name)).number == 2


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        [(waiting,)] = cursor.fetchall()
    return bool(waiting)


def test_a_partition_that_was_lost_with_work_in_hand_counts_as_not_reached(
    tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end had been seen already, but not what lay before the end."""
    send(*[tally.record(f"k{n}", "x", partition=n % 2) for n in range(4)])
    assert succession.begin(tally.consumer) == 2
    away = threading.Event()
    away.set()
    run = Processor.run

    def run_or_fail(self: Processor, records: list[Record], **how: float) -> Ran:
        if away.is_set():
            raise OperationalError("the database is away")
        return run(self, records, **how)

    monkeypatch.setattr(Processor, "run", run_or_fail)
    workers: list[ConsumerWorker] = []

    def worker(stop: threading.Event) -> ConsumerWorker:
        workers.append(ConsumerWorker(tally.consumer, stop=stop, building=2))
        return workers[0]

    both = {(tally.topic.name, 0), (tally.topic.name, 1)}
    poll = GroupReader.poll

    def poll_to_the_ends(self: GroupReader, *, limit: int, timeout: float) -> list[Record]:
        records = poll(self, limit=limit, timeout=timeout)
        while records and workers and self is workers[0]._reader and set(self._ends) != both:
            records += poll(self, limit=limit, timeout=0.1)
        return records

    monkeypatch.setattr(GroupReader, "poll", poll_to_the_ends)
    with Running(worker):
        until(lambda: workers and set(workers[0]._reader._ends) == both)
        monkeypatch.setattr(GroupReader, "poll", poll)
        other = GroupReader(
            config().kafka,
            group=workers[0].group,
            topics=[tally.topic.name],
            on_lost=lambda lost: None,
        )
        try:
            until(lambda: other.poll(limit=1, timeout=0.1) or other.assignment(), seconds=60)
            [lost] = until(other.assignment)
            [kept] = both - {lost}
            away.clear()
            until(lambda: workers[0].reached.get(kept) == 2)
            assert lost not in workers[0].reached
        finally:
            other.close()


def test_while_building_nothing_is_published(tally: Tally) -> None:
    send_and_hear(tally, tally.record("k", "x"))
    tally.publishes = True
    with pytest.raises(PublishWhileBuilding):
        rebuild(tally)
    assert live_generation(tally.consumer.name) == 1
    assert tally.counts(2) == {}
    tally.publishes = False
    rebuild(tally)
    assert tally.counts() == {"x": 1}


def test_one_that_was_stopped_goes_on_where_it_was(tally: Tally) -> None:
    send_and_hear(tally, *[tally.record(f"k{n}", "x") for n in range(3)])
    stop = threading.Event()
    stop.set()
    assert not Rebuild(tally.consumer, stop=stop, report=lambda _: None).run()
    assert tally.states() == [(1, "live"), (2, "building")]
    rebuild(tally)
    assert (tally.counts(), tally.states()) == ({"x": 3}, [(2, "live")])


def test_a_second_one_at_the_same_time_is_refused(tally: Tally) -> None:
    send_and_hear(tally, tally.record("k", "x"))
    tally.gate.clear()
    with Rebuilding(tally) as rebuilding:
        until(lambda: (2, "building") in tally.states())
        with pytest.raises(RebuildUnderWay):
            rebuild(tally)
        with pytest.raises(RebuildUnderWay):
            abandon(tally.consumer)
        tally.gate.set()
        rebuilding.finish()
    assert tally.states() == [(2, "live")]


def test_a_half_built_one_can_be_removed(tally: Tally) -> None:
    send_and_hear(tally, tally.record("k", "x"))
    with pytest.raises(NothingToAbandon):
        abandon(tally.consumer)
    tally.publishes = True
    with pytest.raises(PublishWhileBuilding):
        rebuild(tally)
    tally.publishes = False
    assert tally.states() == [(1, "live"), (2, "building")]
    assert abandon(tally.consumer) == [2]
    assert (tally.states(), tally.counts(), tally.counts(2)) == ([(1, "live")], {"x": 1}, {})
    assert tally.heard(generation=2) == 0
    rebuild(tally)
    assert tally.counts() == {"x": 1}


def test_an_event_that_is_refused_is_set_aside_in_the_new_generation_too(tally: Tally) -> None:
    tally.bad = {"bad"}
    send_and_hear(
        tally, tally.record("k", "bad"), tally.record("k", "waits", number=2), tally.record("j", "flows")
    )
    rebuild(tally)
    assert tally.counts() == {"flows": 1}
    letter = DeadLetter.objects.get(consumer=tally.consumer.name)
    assert (letter.generation, letter.error) == (2, "bad")
    assert WaitingEvent.objects.get(consumer=tally.consumer.name).generation == 2
    assert ParkedKey.objects.get(consumer=tally.consumer.name).generation == 2
    tally.bad = set()
    rebuild(tally)
    assert tally.counts() == {"bad": 1, "waits": 1, "flows": 1}
    assert not DeadLetter.objects.filter(consumer=tally.consumer.name).exists()
    assert not ParkedKey.objects.filter(consumer=tally.consumer.name).exists()


def test_only_projections_are_rebuilt(tally: Tally) -> None:
    other = Consumer(name=f"acts-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
    with pytest.raises(NotAProjection):
        Rebuild(other, stop=threading.Event(), report=lambda _: None)


def test_the_command_rebuilds_lists_and_abandons(
    tally: Tally, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.management.commands.consumers.stop_on_signals", threading.Event)
    send_and_hear(tally, tally.record("k", "x"))
    call_command("consumers", "rebuild", tally.consumer.name)
    call_command("consumers", "list")
    said = capsys.readouterr().out
    assert "generation 2: 1 of 1 records, 100 %" in said
    assert f"{tally.consumer.name}: reads {tally.topic.name}; projection, generation 2 live" in said
    with pytest.raises(CommandError, match="No half-built"):
        call_command("consumers", "rebuild", tally.consumer.name, "--abandon")
    with pytest.raises(CommandError, match="No consumer is named"):
        call_command("consumers", "rebuild", "nobody")


# What Kafka no longer has.


def send_at(*records: tuple[Record, datetime]) -> None:
    """Put records into Kafka with the timestamps that they would have had."""
    producer = Producer(config().kafka)
    for record, at in records:
        producer.produce(
            record.topic,
            record.value,
            key=record.key,
            partition=record.partition,
            headers=[*record.headers],
            timestamp=int(at.timestamp() * 1000),
        )
    assert producer.flush(20) == 0


def delete_before(topic: Topic, partition: int, offset: int) -> None:
    admin = AdminClient({**config().kafka})
    for future in admin.delete_records([TopicPartition(topic.name, partition, offset)]).values():
        future.result(10)


def at(days: int, hours: int = 12) -> datetime:
    """So many days ago; asked anew each time, for a run may begin on one day and end on the next."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days) + timedelta(hours=hours)


def said_at(
    tally: Tally, text: str, moment: datetime, *, about: str | None = None, number: int = 1
) -> tuple[Record, datetime]:
    event = tally.event(about=about or uuid4().hex, text=text)
    return record_of(event, number=number, at=moment), moment


def hear_all(tally: Tally, *said: tuple[Record, datetime]) -> None:
    send_at(*said)
    awaited = tally.heard() + len(said)
    with live(tally):
        until(lambda: tally.heard() == awaited)


def test_what_kafka_no_longer_has_is_taken_over_from_the_day_on_that_cannot_be_built(tally: Tally) -> None:
    old, cut, kept, new = (
        said_at(tally, *one) for one in [("d9", at(9)), ("d8", at(8)), ("d8", at(8, 18)), ("d5", at(5))]
    )
    hear_all(tally, old, cut, kept, new)
    delete_before(tally.topic, 0, 2)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tally SET count = count * 10")
    rebuild(tally)
    # Of the eighth day ago half is gone from Kafka: that day is the live one's. The rest is built anew.
    assert tally.counts() == {"d9": 10, "d8": 20, "d5": 1}


@pytest.mark.parametrize("cleared", [True, False])
def test_an_event_that_kafka_no_longer_has_is_known_when_it_is_sent_again(
    tally: Tally, monkeypatch: pytest.MonkeyPatch, cleared: bool
) -> None:
    """Also in the time between the swap and the end of clearing the old generation away."""
    if not cleared:
        monkeypatch.setattr("outbox.rebuild.clear_away", lambda consumer, settings: 0)
    old, new = said_at(tally, "old", at(9)), said_at(tally, "new", at(5))
    hear_all(tally, old, new)
    delete_before(tally.topic, 0, 1)
    rebuild(tally)
    assert tally.heard(generation=2) == (2 if cleared else 1)
    with live(tally):
        send_at(old, new, said_at(tally, "end", at(0, 0)))
        until(lambda: tally.counts().get("end") == 1)
    assert tally.counts() == {"old": 1, "new": 1, "end": 1}
    assert not DeadLetter.objects.filter(consumer=tally.consumer.name).exists()


def test_what_was_set_aside_long_ago_stays_set_aside(tally: Tally) -> None:
    """Its record is gone from Kafka, its dead letter and what waits behind it are not."""
    tally.bad = {"bad"}
    hear_all(
        tally,
        said_at(tally, "bad", at(9), about="k"),
        said_at(tally, "waits", at(9, 13), about="k", number=2),
        said_at(tally, "new", at(5)),
    )
    delete_before(tally.topic, 0, 2)
    tally.bad = set()
    rebuild(tally)
    assert tally.counts() == {"new": 1}
    assert DeadLetter.objects.get(consumer=tally.consumer.name).generation == 2
    assert WaitingEvent.objects.get(consumer=tally.consumer.name).generation == 2
    assert ParkedKey.objects.get(consumer=tally.consumer.name).generation == 2


def test_an_old_event_that_the_live_one_has_not_seen_yet_is_waited_for(tally: Tally) -> None:
    """The new generation knows it, and takes the old one's counts for that day."""
    hear_all(tally, said_at(tally, "d9", at(9)), said_at(tally, "d9", at(9, 18)), said_at(tally, "d5", at(5)))
    delete_before(tally.topic, 0, 1)
    late = record_of(tally.event(about="late", text="d9"), at=at(9))
    send_at((late, at(0, 0)))
    with Rebuilding(tally) as rebuilding:
        until(lambda: tally.heard(generation=2) == 3)
        until(lambda: len([one for one in rebuilding.progress if one.read == one.records]) > 5)
        assert live_generation(tally.consumer.name) == 1
        with live(tally):
            rebuilding.finish()
    assert live_generation(tally.consumer.name) == 2
    assert tally.counts() == {"d9": 3, "d5": 1}


def test_in_the_swap_only_days_that_have_changed_are_taken_over_again(
    tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else was taken over before the live consumer was kept waiting; an event came in between."""
    monkeypatch.setattr("outbox.taking_over.COMMIT", timedelta(0))
    hear_all(tally, said_at(tally, "d9", at(9)), said_at(tally, "d9", at(9, 18)), said_at(tally, "d5", at(5)))
    hear_all(tally, said_at(tally, "d8", at(8)))
    delete_before(tally.topic, 0, 1)
    take_live, heard = generations.take_live, tally.heard()

    def hear_and_take_live(consumer: str, *, using: str) -> None:
        with live(tally):
            send_at((record_of(tally.event(about="late", text="d9"), at=at(9)), at(0, 0)))
            until(lambda: tally.heard() == heard + 1)
        take_live(consumer, using=using)

    monkeypatch.setattr("outbox.rebuild.take_live", hear_and_take_live)
    rebuild(tally)
    assert tally.counts() == {"d9": 3, "d8": 1, "d5": 1}
    assert tally.taken_over == [(None, at(8, 0)), (at(9, 0), at(8, 0))]


def test_a_partition_that_is_empty_by_now_hides_nothing(tally: Tally) -> None:
    hear_all(tally, said_at(tally, "d9", at(9)), said_at(tally, "d8", at(8)))
    delete_before(tally.topic, 0, 2)
    rebuild(tally)
    assert tally.counts() == {"d9": 1, "d8": 1}
    assert Generation.objects.get(consumer=tally.consumer.name).generation == 2


def test_what_the_builder_reads_after_the_last_look_is_not_lost(
    tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event from before the horizon that only the new generation's inbox knows would be in neither."""
    hear_all(tally, said_at(tally, "d9", at(9)), said_at(tally, "d9", at(9, 18)), said_at(tally, "d5", at(5)))
    delete_before(tally.topic, 0, 1)
    replace = succession.replace

    def replace_late(consumer: Consumer, **how: Any) -> None:
        heard = tally.heard(generation=2)
        send_at((record_of(tally.event(about="late", text="d9"), at=at(9)), at(0, 0)))
        until(lambda: tally.heard(generation=2) > heard or _builder_waits())
        replace(consumer, **how)

    monkeypatch.setattr(succession, "replace", replace_late)
    rebuild(tally)
    with live(tally):
        send(tally.record("end", "end"))
        until(lambda: tally.counts().get("end") == 1)
    assert tally.counts() == {"d9": 3, "d5": 1, "end": 1}


def _builder_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted")
        [(waiting,)] = cursor.fetchall()
    return bool(waiting)


def test_history_is_kept_when_kafka_has_forgotten_the_live_group(tally: Tally) -> None:
    hear_all(tally, said_at(tally, "d9", at(9)), said_at(tally, "d5", at(5)))
    delete_before(tally.topic, 0, 1)
    Cluster(config().kafka).delete_group(tally.consumer.name)
    rebuild(tally)
    assert tally.counts() == {"d9": 1, "d5": 1}


def make_anew(topic: Topic) -> None:
    admin = AdminClient({**config().kafka})
    admin.delete_topics([topic.name])[topic.name].result(10)
    cluster = Cluster(config().kafka)
    until(lambda: topic.name not in cluster.partition_counts())
    cluster.create_topic(topic.name, partitions=2, replication=1, config={})
    until(lambda: cluster.partition_counts().get(topic.name) == 2)


def test_history_is_kept_when_the_topic_was_made_anew(tally: Tally) -> None:
    """Its offsets begin at zero again, as if nothing had ever been deleted."""
    hear_all(tally, said_at(tally, "d9", at(9)), said_at(tally, "d8", at(8)))
    make_anew(tally.topic)
    Cluster(config().kafka).delete_group(tally.consumer.name)
    hear_all(tally, said_at(tally, "d5", at(5)))
    told: list[str] = []
    done = Rebuild(tally.consumer, stop=threading.Event(), report=lambda _: None, tell=told.append).run()
    assert done
    assert tally.counts() == {"d9": 1, "d8": 1, "d5": 1}
    assert told == [f"what happened before {at(7):%Y-%m-%d} is taken over: Kafka no longer has all of it"]


def test_history_that_only_the_progress_of_keys_remembers_is_not_dropped(tally: Tally) -> None:
    hear_all(tally, said_at(tally, "d9", at(9)))
    make_anew(tally.topic)
    InboxEntry.objects.filter(consumer=tally.consumer.name).delete()
    with pytest.raises(HistoryGone, match="does not say of when"):
        rebuild(tally)
    assert tally.counts() == {"d9": 1}


@pytest.mark.parametrize(("days", "hours"), [(0, 0), (-3, 12)])
def test_nothing_is_swapped_when_nothing_can_be_built_again(tally: Tally, days: int, hours: int) -> None:
    """Today's events are gone from Kafka, or one that was dated ahead."""
    moment = at(days, hours)
    send_at((said_at(tally, "gone", moment)[0], at(5)), said_at(tally, "d5", at(5)))
    with live(tally):
        until(lambda: tally.heard() == 2)
    delete_before(tally.topic, 0, 1)
    with pytest.raises(HistoryGone, match=f"begins with {moment + timedelta(days=1):%Y-%m-%d}"):
        rebuild(tally)
    assert (tally.counts(), tally.states()) == ({"gone": 1, "d5": 1}, [(1, "live"), (2, "building")])
    dropping = Rebuild(tally.consumer, stop=threading.Event(), report=lambda _: None, drop_history=True)
    assert dropping.run()
    assert tally.counts() == {"d5": 1}


def test_a_swap_that_could_not_clear_away_says_so_and_clearing_can_be_repeated(
    tally: Tally, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.management.commands.consumers.stop_on_signals", threading.Event)
    send_and_hear(tally, tally.record("k", "x"))

    def away(self: Cluster, group: str) -> None:
        raise BrokerError("Kafka is away")

    monkeypatch.setattr("outbox.clearing.GROUP_SECONDS", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "delete_group", away)
        call_command("consumers", "rebuild", tally.consumer.name)
    said = capsys.readouterr().out
    assert "The new generation is live." in said
    assert f"run `manage.py consumers clear {tally.consumer.name}`" in said
    assert tally.states() == [(1, "retired"), (2, "live")]
    call_command("consumers", "clear", tally.consumer.name)
    assert tally.states() == [(2, "live")]
    assert (tally.heard(generation=1), tally.counts(1), tally.counts()) == (0, {}, {"x": 1})
    assert clear(tally.consumer) == 0


def test_removing_a_half_built_one_goes_on_after_it_was_cut_short(
    tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_and_hear(tally, tally.record("k", "x"))
    succession.begin(tally.consumer)
    succession.abandon(tally.consumer, operator=ANNA)  # and then it was killed
    assert tally.states() == [(1, "live"), (2, "abandoned")]
    assert abandon(tally.consumer) == [2]
    assert tally.states() == [(1, "live")]
