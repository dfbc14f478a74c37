"""Moving a consumer to another moment: what comes again is dropped, what is skipped leaves no gap."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Timer
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from outbox import Consumer, Delivery, handles, registry
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.consumer_models import Forgotten
from outbox.errors import SeekRefused
from outbox.kafka import BrokerError, Cluster, Record
from outbox.lag import lags
from outbox.models import InboxEntry, ParkedKey
from outbox.pausing import pause
from outbox.positions import PartitionEnd
from outbox.repair.acts import acts_of
from outbox.seeking import preview, seek
from tests.engine import Noted, Running, Writer, new_topic, noted_on, record_of, send, until
from tests.integration.at_once import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


class Reader:
    """A consumer of one partition, and what its handler was given."""

    def __init__(self) -> None:
        self.topic = new_topic(partitions=1)
        self.event = noted_on(self.topic)
        self.consumer = Consumer(name=f"reader-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
        self.calls: list[str] = []
        handles(self.consumer, self.event)(lambda delivery: self.handle(delivery))

    def handle(self, delivery: Delivery[Noted]) -> None:
        self.calls.append(delivery.event.text)

    def instance(self) -> Running:
        return Running(lambda stop: ConsumerWorker(self.consumer, stop=stop))

    def notes(self, about: str, *numbers: int) -> list[Record]:
        return [record_of(self.event(about=about, text=f"{about}{n}"), number=n) for n in numbers]

    def run_until(self, *calls: str) -> None:
        with self.instance():
            until(lambda: self.calls == [*calls])
            until(lambda: self.committed() == InboxEntry.objects.filter(consumer=self.consumer.name).count())
        self.calls.clear()

    def committed(self) -> int:
        place = (self.topic.name, 0)
        return Cluster(config().kafka).committed(self.consumer.name, [place]).get(place, 0)

    def outcomes(self) -> list[str]:
        rows = InboxEntry.objects.filter(consumer=self.consumer.name).order_by("offset")
        return [outcome for (outcome,) in rows.values_list("outcome")]


@pytest.fixture
def reader() -> Iterator[Reader]:
    before = dict(registry._consumers)
    yield Reader()
    registry._consumers.clear()
    registry._consumers.update(before)


def later() -> datetime:
    """A moment after all that Kafka has, and before all that it gets from now on."""
    time.sleep(0.005)
    moment = datetime.now(UTC)
    time.sleep(0.005)
    return moment


def test_what_was_processed_comes_again_and_is_dropped(reader: Reader) -> None:
    send(*reader.notes("a", 1))
    moment = later()
    send(*reader.notes("a", 2), *reader.notes("b", 1))
    reader.run_until("a1", "a2", "b1")

    [move] = preview(reader.consumer, to=moment)
    assert (move.now, move.then, move.again, move.known, move.skipped) == (3, 1, 2, 2, 0)
    assert reader.committed() == 3
    assert seek(reader.consumer, by="anna", to=moment) == [move]
    assert reader.committed() == 1
    [lag] = lags([reader.consumer], using="default")
    assert lag.events == 2

    send(*reader.notes("a", 3))
    with reader.instance():
        until(lambda: reader.calls == ["a3"])
    assert reader.outcomes() == ["processed"] * 4


def test_what_the_inbox_has_forgotten_does_not_come_again(reader: Reader) -> None:
    """Each would be a dead letter that parks its key: nobody could tell which are new."""
    moment = later()
    send(*reader.notes("a", 1, 2))
    remembered = later()
    send(*reader.notes("a", 3))
    reader.run_until("a1", "a2", "a3")
    Forgotten.objects.create(
        consumer=reader.consumer.name, generation=1, since=moment - timedelta(days=7), until=remembered
    )
    [move] = preview(reader.consumer, to=moment)
    assert (move.again, move.forgotten) == (3, 2)
    with pytest.raises(SeekRefused, match="2 events would come again of weeks whose inbox was dropped"):
        seek(reader.consumer, by="anna", to=moment)
    assert reader.committed() == 3

    [move] = preview(reader.consumer, to=remembered)
    assert (move.again, move.forgotten) == (1, 0)
    seek(reader.consumer, by="anna", to=remembered)
    assert reader.committed() == 2


def test_nothing_is_moved_while_an_instance_runs(reader: Reader) -> None:
    moment = later()
    send(*reader.notes("a", 1))
    with reader.instance():
        until(lambda: reader.committed() == 1)
        with pytest.raises(SeekRefused, match="are running .*stop them all first"):
            seek(reader.consumer, by="anna", to=moment)
        assert reader.committed() == 1


def test_what_is_skipped_is_discarded_and_leaves_no_gap(reader: Reader) -> None:
    send(*reader.notes("a", 1))
    reader.run_until("a1")
    skipped = [*reader.notes("a", 2, 3), *reader.notes("b", 1)]
    send(*skipped)
    moment = later()
    with pytest.raises(SeekRefused, match="3 events would never be processed"):
        seek(reader.consumer, by="anna", to=moment)
    with pytest.raises(SeekRefused, match="3 events would be skipped by now, and no more than 2 may be"):
        seek(reader.consumer, by="anna", to=moment, skip="a test run wrote them", at_most=2)
    assert (reader.committed(), reader.outcomes()) == (1, ["processed"])

    [move] = seek(reader.consumer, by="anna", to=moment, skip="a test run wrote them")
    assert (move.skipped, move.again) == (3, 0)
    assert reader.outcomes() == ["processed", "discarded", "discarded", "discarded"]
    # Again, as after a crash in between: the same.
    seek(reader.consumer, by="anna", to=moment, skip="a test run wrote them")
    assert len(reader.outcomes()) == 4

    # What follows continues the skipped ones; one of them, delivered again, is dropped.
    send(*reader.notes("a", 4), skipped[0], *reader.notes("b", 2))
    with reader.instance():
        until(lambda: reader.calls == ["a4", "b2"])
    assert not ParkedKey.objects.exists()


def test_what_was_processed_and_is_skipped_the_second_time_stays_processed(reader: Reader) -> None:
    beginning = later()
    send(*reader.notes("a", 1, 2))
    reader.run_until("a1", "a2")
    seek(reader.consumer, by="anna", to=beginning)
    send(*reader.notes("a", 3))
    seek(reader.consumer, by="anna", to=later(), skip="once is enough")
    assert reader.outcomes() == ["processed", "processed", "discarded"]


def test_what_was_skipped_and_moved_is_written_down_with_who_and_why(reader: Reader) -> None:
    beginning = later()
    send(*reader.notes("a", 1))
    reader.run_until("a1")
    send(*reader.notes("a", 2, 3))
    for skip in ("", " "):
        with pytest.raises(SeekRefused):
            seek(reader.consumer, by="anna", to=later(), skip=skip)
    assert not acts_of(reader.consumer.name, using="default").exists()
    moment = later()
    call_command(
        "consumers",
        "seek",
        reader.consumer.name,
        "--to",
        moment.isoformat(),
        "--skip",
        "a test run wrote them",
    )
    seek(reader.consumer, by="anna", to=beginning)
    skipped, moved, back = acts_of(reader.consumer.name, using="default")
    assert (skipped.act, skipped.result, skipped.why) == ("seek", "skipped", "a test run wrote them")
    assert skipped.detail == "2 events are discarded unprocessed."
    assert (moved.result, moved.via, moved.why) == ("moved", "command", "a test run wrote them")
    assert f"{reader.topic.name}/0 from 1 to 3" in moved.detail
    assert (back.who, back.via, back.result) == ("anna", "python", "moved")
    assert f"{reader.topic.name}/0 from 3 to 0" in back.detail


def test_nothing_is_discarded_under_an_instance_that_is_not_listed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while brokers start: whoever knows the group refuses."""
    pause(consumer=reader.consumer, by="anna", reason="so that its events wait")
    with reader.instance():
        until(lambda: Cluster(config().kafka).members(reader.consumer.name))
        send(*reader.notes("a", 1))
        with monkeypatch.context() as patch, pytest.raises(BrokerError):
            patch.setattr(Cluster, "members", lambda *_: {})
            seek(reader.consumer, by="anna", to=later(), skip="too old")
        assert reader.outcomes() == []


def test_events_of_a_parked_key_are_not_skipped(reader: Reader) -> None:
    send(*reader.notes("a", 1))
    send(Record(reader.topic.name, 0, 0, b"a", b"?", [], datetime.now(UTC)))
    with reader.instance():
        until(lambda: ParkedKey.objects.filter(key="a").exists() and reader.committed() == 2)
    send(*reader.notes("b", 1), *reader.notes("a", 2))
    moment = later()
    with pytest.raises(SeekRefused, match="1 keys .* are parked, 'a' of"):
        seek(reader.consumer, by="anna", to=moment, skip="too old")
    assert reader.committed() == 2
    assert len(reader.outcomes()) == 2


def test_the_command_shows_what_it_would_do_and_does_it(reader: Reader) -> None:
    moment = later()
    send(*reader.notes("a", 1, 2))
    reader.run_until("a1", "a2")
    output = StringIO()
    arguments = ["seek", reader.consumer.name, "--to", moment.isoformat()]
    call_command("consumers", *arguments, "--dry-run", stdout=output)
    assert (
        "0: 2 → 0, 2 events come again (2 are known and will be dropped), 0 are skipped" in output.getvalue()
    )
    assert "Nothing was changed" in output.getvalue()
    assert reader.committed() == 2
    call_command("consumers", *arguments, stdout=output)
    assert reader.committed() == 0


@pytest.mark.parametrize("to", ["yesterday", "2026-11-26T14:00:00", "2026-13-26T14:00:00Z"])
def test_a_time_that_is_none_is_refused(reader: Reader, to: str) -> None:
    with pytest.raises(CommandError, match="--to"):
        call_command("consumers", "seek", reader.consumer.name, "--to", to, "--dry-run")


def test_one_move_asked_for_twice_at_the_same_time_is_written_down_once(reader: Reader) -> None:
    moment = later()
    send(*reader.notes("a", 1, 2))
    reader.run_until("a1", "a2")
    until(lambda: PartitionEnd.objects.filter(topic=reader.topic.name).exists())
    with Writer() as other:
        # Both have moved it in Kafka, and neither has told so, before the first can.
        other.begin()
        other.execute(f"SELECT FROM outbox_partition_end WHERE topic = '{reader.topic.name}' FOR UPDATE")
        release = Timer(0, lambda: release_both(other))
        release.start()
        at_once(*[lambda: seek(reader.consumer, by="anna", to=moment, reason="once more")] * 2)
        release.join()
    [moved] = acts_of(reader.consumer.name, using="default")
    assert (moved.result, moved.why) == ("moved", "once more")
    assert reader.committed() == 0


def release_both(other: Writer) -> None:
    """Once two wait for it, or for one another."""
    until(lambda: waiting_for_locks() == 2)
    other.end()


def waiting_for_locks() -> int:
    """How many sessions of this database wait for another one."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return int(cursor.fetchone()[0])
    finally:
        connection.close()
