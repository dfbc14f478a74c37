"""How far consumers are behind: as their instances say, and as the outbox says when none is there."""

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction

from outbox import Consumer, Delivery, handles, oldest_left, publish, registry
from outbox.alerts.alarms import Alarm
from outbox.consumer import ConsumerWorker
from outbox.kafka import member_name
from outbox.lag import SLOT, Lag, history, lags
from outbox.lag_table import shown
from outbox.models import InboxEntry, Publication
from outbox.positions import AlarmCause, LagSample, Member, PartitionEnd, Position
from outbox.relay import Relay
from outbox.relay_models import Shard
from outbox.sampling import sample_when_due
from tests.engine import Noted, Running, Writer, new_topic, noted_on, record_of, send, until
from tests.integration.at_once import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

LIMIT = timedelta(seconds=5)


class Reader:
    """A consumer of two partitions, which waits in its handler while told so."""

    def __init__(self) -> None:
        self.topic = new_topic(partitions=2)
        self.event = noted_on(self.topic)
        self.consumer = Consumer(name=f"reader-{uuid4().hex[:8]}", sync_delay_limit=LIMIT)
        self.go = threading.Event()
        self.go.set()
        handles(self.consumer, self.event)(self.handle)

    def handle(self, delivery: Delivery[Noted]) -> None:
        assert self.go.wait(60)

    def instance(self) -> Running:
        return Running(lambda stop: ConsumerWorker(self.consumer, stop=stop))

    def lag(self) -> Lag:
        [lag] = lags([self.consumer], using="default")
        return lag

    def processed(self) -> int:
        return InboxEntry.objects.filter(consumer=self.consumer.name, outcome="processed").count()

    def publish(self, *abouts: str, at: datetime | None = None) -> None:
        with transaction.atomic():
            for about in abouts:
                publish(self.event(about=about), at=at)


@pytest.fixture
def reader() -> Iterator[Reader]:
    before = dict(registry._consumers)
    registry._consumers.clear()
    yield Reader()
    registry._consumers.clear()
    registry._consumers.update(before)


def waits(reader: Reader) -> float:
    """For how long its oldest event has waited, which is known."""
    seconds = reader.lag().seconds
    assert seconds is not None
    return seconds


def relaying() -> Running:
    return Running(lambda stop: Relay(stop=stop))


def sample() -> None:
    """As if the last sample had been taken ten seconds earlier, also where an instance is at it itself."""
    until(_sampled, seconds=30)


def _sampled() -> bool:
    for one in LagSample.objects.order_by("at"):
        LagSample.objects.filter(pk=one.pk).delete()
        LagSample.objects.create(
            consumer=one.consumer, at=one.at - SLOT, events=one.events, seconds=one.seconds, delay=one.delay,
            produced=one.produced, processed=one.processed, members=one.members,
        )  # fmt: skip
    return sample_when_due()


def alarms() -> set[str]:
    """What is wrong with the reader's lag."""
    present = Alarm.objects.present().filter(cause__in=AlarmCause.values)
    return set(present.values_list("cause", flat=True))


def test_an_instance_says_what_it_reads_how_far_it_is_and_how_late_the_last_was(reader: Reader) -> None:
    happened = datetime.now(UTC) - timedelta(minutes=3)
    send(*(record_of(reader.event(about="a"), number=n, at=happened) for n in (1, 2, 3)))
    with reader.instance():
        until(lambda: [part.reached for part in reader.lag().partitions] == [3, 0])
        until(lambda: [part.end for part in reader.lag().partitions] == [3, 0])
        lag = reader.lag()
        [member] = lag.members
        assert member.name == member_name()
        assert member.partitions == ((reader.topic.name, 0), (reader.topic.name, 1))
        assert (lag.events, lag.seconds) == (0, 0.0)
        assert lag.delay is not None
        assert 180 <= lag.delay < 240
        assert [part.member for part in lag.partitions] == [member.name] * 2
    # It took its leave; how far it was stays.
    lag = reader.lag()
    assert lag.members == ()
    assert [(part.member, part.reached) for part in lag.partitions] == [(None, 3), (None, 0)]


def slowest(reader: Reader) -> float:
    """The greatest delay in its history."""
    samples = history(reader.consumer, since=datetime.now(UTC) - timedelta(minutes=5))
    return max((one.delay for one in samples if one.delay is not None), default=0.0)


def test_a_short_spike_between_two_samples_is_in_the_history(reader: Reader) -> None:
    """Also when its instance ends right after it, and another one goes on."""
    happened = datetime.now(UTC) - timedelta(minutes=1)
    with reader.instance():
        until(lambda: LagSample.objects.exists())
        # In one batch, or two: the last of them is quick.
        send(
            record_of(reader.event(about="a"), number=1, at=happened),
            record_of(reader.event(about="a"), number=2),
        )
        until(lambda: reader.processed() == 2)
    with reader.instance():
        send(record_of(reader.event(about="a"), number=3))
        until(lambda: reader.processed() == 3)
    assert 60 <= slowest(reader) < 90
    sample()
    sample()
    assert 60 <= slowest(reader) < 90


def test_a_sample_has_the_slowest_of_all_instances_since_and_not_of_those_before(reader: Reader) -> None:
    happened = datetime.now(UTC) - timedelta(minutes=1)
    with reader.instance(), reader.instance():
        until(lambda: len(reader.lag().members) == 1 and LagSample.objects.exists())
        send(record_of(reader.event(about="a"), number=1, at=happened))
        send(record_of(reader.event(about="b"), number=1))
        until(lambda: slowest(reader) >= 60)
        sample()
        send(record_of(reader.event(about="b"), number=2))
        until(lambda: reader.processed() == 3)
    *_, last = history(reader.consumer, since=datetime.now(UTC) - timedelta(minutes=5))
    assert last.delay is not None
    assert last.delay < 30


def test_an_instance_that_starts_anew_says_where_its_group_was(reader: Reader) -> None:
    send(*(record_of(reader.event(about="a"), number=n) for n in (1, 2, 3)))
    with reader.instance():
        until(lambda: reader.processed() == 3)
    Position.objects.all().delete()
    with reader.instance():
        until(lambda: [part.reached for part in reader.lag().partitions] == [3, 0])


def test_events_wait_behind_one_that_is_being_handled(reader: Reader) -> None:
    with relaying(), reader.instance():
        reader.publish("a")
        until(lambda: reader.processed() == 1 and reader.lag().events == 0)
        reader.go.clear()
        reader.publish("a", "a")
        until(lambda: Publication.objects.count() == 3)
        # The instance does not look at Kafka meanwhile: the relay's traces tell.
        until(lambda: waits(reader) > 3)
        sample()
        assert reader.lag().events == 2
        [member] = reader.lag().members
        assert member.partitions
        reader.go.set()
        until(lambda: reader.lag().events == 0)


def test_the_lag_of_a_consumer_that_is_away_grows_by_what_the_outbox_knows(reader: Reader) -> None:
    with relaying():
        reader.publish("a", "b", "c")
        with reader.instance():
            until(lambda: reader.processed() == 3)
            until(lambda: reader.lag().events == 0 and sum(p.end or 0 for p in reader.lag().partitions) == 3)
        # The instance went an hour ago, with everything done.
        past = datetime.now(UTC) - timedelta(hours=1)
        Position.objects.update(reported_at=past, clear_until=past)
        PartitionEnd.objects.update(told_at=past)
        Publication.objects.all().update(published_at=past)
        happened = datetime.now(UTC) - timedelta(seconds=20)
        reader.publish("d", "e", at=happened)
        until(lambda: Publication.objects.count() == 5)
        sample()
        lag = reader.lag()
        assert lag.events == 2
        assert 20 <= waits(reader) < 80
        assert lag.unpublished == 0


def away(reader: Reader, *, since: datetime, end: int) -> None:
    """As if the consumer had stopped with everything done, and its first partition had gone on to `end`."""
    place = {"topic": reader.topic.name, "partition": 0}
    PartitionEnd.objects.create(**place, next_offset=end)
    PartitionEnd.objects.create(topic=reader.topic.name, partition=1, next_offset=0)
    Position.objects.create(consumer=reader.consumer.name, **place, reached=0, clear_until=since)
    Position.objects.update(reported_at=since)


_READ = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname LIKE %s"


def test_where_nothing_of_the_outbox_is_left_few_traces_are_looked_at(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records at the partition's end are another program's, and much has been sent since elsewhere."""
    monkeypatch.setattr("outbox.oldest_left.TRACES", 100)
    other, since = noted_on(new_topic(partitions=1)), datetime.now(UTC) - timedelta(hours=1)
    with transaction.atomic():
        ids = [publish(other(about=f"k{n % 10}")) for n in range(2_000)]
    Publication.objects.bulk_create(
        Publication(event_id=one, partition=0, offset=n, published_at=since) for n, one in enumerate(ids)
    )
    away(reader, since=since, end=3)
    with transaction.atomic(), connection.cursor() as sql:
        sql.execute("SET LOCAL enable_seqscan = off")  # as if there were more than is read at once
        sql.execute(_READ, ["outbox_publication%"])
        (before,) = sql.fetchone()
        lag = reader.lag()
        sql.execute(_READ, ["outbox_publication%"])
        (after,) = sql.fetchone()
    assert after - before <= 200
    assert lag.events == 3
    assert lag.seconds is not None
    assert lag.seconds >= 3_600  # since when all was done


def test_a_consumer_whose_oldest_event_is_not_found_in_time_costs_no_other_its_sample(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other, since = Reader(), datetime.now(UTC) - timedelta(hours=1)
    for one in (reader, other):
        away(one, since=since, end=5)
    # Whatever the reason is: for one of them the search does not end.
    waits = f"WHERE pg_sleep(CASE asked.topic WHEN '{reader.topic.name}' THEN 600 ELSE 0 END) IS NOT NULL"
    monkeypatch.setattr("outbox.oldest_left._OLDEST", f"{oldest_left._OLDEST} {waits}")
    with transaction.atomic():
        with connection.cursor() as sql:
            sql.execute("SET LOCAL statement_timeout = '2s'")
        assert sample_when_due()
    samples = LagSample.objects.filter(consumer__in=[reader.consumer.name, other.consumer.name])
    assert [(one.events, (one.seconds or 0) >= 3_600) for one in samples] == [(5, True)] * 2
    assert caplog.text.count(": cannot tell") == 1
    assert f"consumer {reader.consumer.name}: cannot tell" in caplog.text


def test_an_event_that_no_relay_has_sent_is_late_too(reader: Reader) -> None:
    reader.publish("a", at=datetime.now(UTC) - timedelta(minutes=2))
    lag = reader.lag()
    assert lag.events is None  # nobody has been there, and said where the partitions end
    assert 120 <= waits(reader) < 180
    assert lag.catch_up_seconds is None  # nobody knows when a relay comes
    with relaying():
        until(lambda: reader.lag().unpublished == 0)


def test_a_late_commit_that_no_relay_has_sent_is_found(reader: Reader) -> None:
    with Writer() as writer:
        writer.begin()
        writer.call(lambda: publish(reader.event(about="late"), at=datetime.now(UTC) - timedelta(minutes=2)))
        with relaying():
            reader.publish("a")
            until(lambda: Publication.objects.count() == 1)
        assert any(shard.previous.split(":")[2] for shard in Shard.objects.all())
        writer.end()
    assert 120 <= reader.lag().unpublished < 180


def test_one_sample_is_taken_of_ten_seconds_by_however_many(reader: Reader) -> None:
    taken = at_once(*[sample_when_due] * 4)
    assert sorted(taken) == [False, False, False, True]
    [kept] = history(reader.consumer, since=datetime.now(UTC) - timedelta(minutes=1))
    assert (kept.events, kept.seconds) == (None, None)  # nobody has told anything yet
    sample()
    assert len(history(reader.consumer, since=datetime.now(UTC) - timedelta(minutes=1))) == 2


def test_an_end_that_nobody_has_told_is_unknown_and_not_zero(reader: Reader) -> None:
    Position.objects.create(consumer=reader.consumer.name, topic=reader.topic.name, partition=0, reached=4)
    [part, *_] = reader.lag().partitions
    assert (part.reached, part.events, part.seconds) == (4, None, None)
    lag = reader.lag()
    assert (lag.events, lag.seconds, lag.late, lag.catch_up_seconds) == (None, None, None, None)
    assert sample_when_due()
    # An end that is told then is no rate: nothing came in.
    for partition in (0, 1):
        PartitionEnd.objects.create(topic=reader.topic.name, partition=partition, next_offset=5_000)
    sample()
    lag = reader.lag()
    assert (lag.events, lag.seconds, lag.rates) == (9_996, None, None)


def test_where_one_age_is_not_known_another_beyond_the_limit_is_told(reader: Reader) -> None:
    now = datetime.now(UTC)
    for partition in (0, 1):
        PartitionEnd.objects.create(topic=reader.topic.name, partition=partition, next_offset=5)
    told = Position.objects.create(
        consumer=reader.consumer.name, topic=reader.topic.name, partition=0, reached=4, clear_until=now
    )
    assert reader.lag().seconds is None
    told.clear_until = now - timedelta(minutes=1)
    told.save(update_fields=["clear_until"])
    assert 60 <= waits(reader) < 120
    assert reader.lag().late


def test_an_alarm_is_not_over_while_nobody_knows(reader: Reader) -> None:
    reader.publish("a", at=datetime.now(UTC) - timedelta(minutes=2))
    sample()
    assert alarms() == {"late"}
    with relaying():
        until(lambda: reader.lag().unpublished == 0)
    sample()
    assert reader.lag().seconds is None
    assert alarms() == {"late"}
    [alarm] = Alarm.objects.present().filter(cause="late")
    assert "was later than its limit of 5 s; how late it is now has not been known for 0 s" in alarm.said
    assert alarm.unknown_since is not None
    assert alarm.unknown_since > alarm.since
    began = alarm.unknown_since - timedelta(hours=3)
    Alarm.objects.filter(cause="late").update(unknown_since=began)
    sample()
    [alarm] = Alarm.objects.present().filter(cause="late")
    assert "how late it is now has not been known for 3 h" in alarm.said
    assert alarm.unknown_since == began
    [told] = reader.lag().alarms
    assert (told.since, told.unknown_since) == (alarm.since, began)
    for part in reader.lag().partitions:
        PartitionEnd.objects.update_or_create(
            topic=part.topic, partition=part.partition, defaults={"next_offset": 0}
        )
    Publication.objects.all().delete()
    sample()
    assert not alarms()


def test_one_that_fell_behind_is_not_well_again_while_nobody_knows(reader: Reader) -> None:
    Alarm.objects.create(cause="falling_behind", subject=reader.consumer.name, said="It falls behind.")
    sample()
    [alarm] = Alarm.objects.present().filter(cause="falling_behind")
    assert "fell behind; how much it has left now has not been known for 0 s" in alarm.said
    assert alarm.unknown_since is not None
    for partition in (0, 1):
        PartitionEnd.objects.create(topic=reader.topic.name, partition=partition, next_offset=0)
    sample()
    assert not alarms()


def test_a_late_one_of_which_is_known_again_that_it_is_late_says_so(reader: Reader) -> None:
    now = datetime.now(UTC)
    Alarm.objects.create(cause="late", subject=reader.consumer.name, unknown_since=now)
    for partition in (0, 1):
        PartitionEnd.objects.create(topic=reader.topic.name, partition=partition, next_offset=5)
    Position.objects.create(
        consumer=reader.consumer.name,
        topic=reader.topic.name,
        partition=0,
        reached=4,
        clear_until=now - timedelta(minutes=1),
    )
    sample()
    [alarm] = Alarm.objects.present().filter(cause="late")
    assert "is late by 6" in alarm.said
    assert alarm.unknown_since is None


def test_samples_are_kept_for_a_day(reader: Reader) -> None:
    for age in (timedelta(hours=23), timedelta(hours=25)):
        LagSample.objects.create(
            consumer=reader.consumer.name, at=datetime.now(UTC) - age,
            events=0, seconds=0, produced=0, processed=0, members=0,
        )  # fmt: skip
    assert sample_when_due()
    assert LagSample.objects.filter(consumer=reader.consumer.name).count() == 2


def test_it_is_told_once_when_a_consumer_becomes_late_and_when_that_is_over(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="outbox.alerts.checking")
    reader.publish("a", at=datetime.now(UTC) - timedelta(minutes=2))
    sample()
    [alarm] = reader.lag().alarms
    assert alarm.cause == "late"
    sample()
    assert reader.lag().alarms == (alarm,)
    with relaying(), reader.instance():
        until(lambda: reader.processed() == 1 and reader.lag().events == 0)
        until(lambda: Position.objects.exclude(processed_at=None).exists())
    # Late is what waits: what was processed late, a moment ago too, is so no more.
    sample()
    assert not alarms()
    said = [entry.getMessage() for entry in caplog.records if "late" in entry.getMessage().lower()]
    assert len(said) == 2
    assert "is late by 1" in said[0]
    assert "limit is 5 s" in said[0]
    assert said[1] == f"alarm over: {reader.consumer.name}: Late"


def test_a_consumer_slower_than_production_for_a_minute_falls_behind(reader: Reader) -> None:
    name, topic, now = reader.consumer.name, reader.topic.name, datetime.now(UTC)
    PartitionEnd.objects.create(topic=topic, partition=1, next_offset=0)
    PartitionEnd.objects.create(topic=topic, partition=0, next_offset=1_000)
    Position.objects.create(
        consumer=name, topic=topic, partition=0, reached=800, clear_until=now - timedelta(seconds=10)
    )
    Member.objects.create(consumer=name, name="host:1", partitions=[[topic, 0], [topic, 1]])
    earlier = {"consumer": name, "events": 100, "seconds": 3, "members": 1, "produced": 100}
    LagSample.objects.create(**earlier, at=now - timedelta(seconds=60), processed=0)
    assert sample_when_due()
    assert alarms() == {"late", "falling_behind"}
    lag = reader.lag()
    assert lag.rates is not None
    assert 14 < lag.rates.into < 16
    assert 12 < lag.rates.out < 14
    assert lag.catch_up_seconds is None
    # It has become faster than what comes in.
    Position.objects.update(reached=950, reported_at=datetime.now(UTC))
    PartitionEnd.objects.filter(partition=0).update(next_offset=1_010)
    sample()
    assert alarms() == {"late"}
    lag = reader.lag()
    assert lag.rates is not None
    assert lag.catch_up_seconds == pytest.approx(60 / (lag.rates.out - lag.rates.into))


def stood(reader: Reader, *, events: int, waits: float, into: float, out: float, runs: bool = True) -> None:
    """As if an instance had told of one partition, with these rates in the last minute."""
    name, topic, now = reader.consumer.name, reader.topic.name, datetime.now(UTC)
    PartitionEnd.objects.create(topic=topic, partition=1, next_offset=0)
    PartitionEnd.objects.create(topic=topic, partition=0, next_offset=100_000)
    Position.objects.create(
        consumer=name,
        topic=topic,
        partition=0,
        reached=100_000 - events,
        clear_until=now - timedelta(seconds=waits),
    )
    if runs:
        Member.objects.create(consumer=name, name="host:1", partitions=[[topic, 0], [topic, 1]])
    LagSample.objects.create(
        consumer=name, at=now - timedelta(seconds=60), events=0, seconds=0, members=1,
        produced=100_000 - round(into * 60), processed=100_000 - events - round(out * 60),
    )  # fmt: skip


def test_nobody_falls_behind_by_figures_that_do_not_say_so(reader: Reader) -> None:
    """After a thaw: what has waited for a minute came just now, and it was little."""
    stood(reader, events=4, waits=60, into=0.04, out=0.0)
    assert sample_when_due()
    assert alarms() == {"late"}


@pytest.mark.parametrize(
    ("events", "waits", "into", "out", "catch_up"),
    [
        (2, 0.2, 4.7, 4.75, 0.0),  # on its way: not 41 s
        (2, 0.2, 4.7, 4.7, 0.0),  # nor never
        (23, 4.0, 50.0, 4.7, 0.0),  # 4.9 s at its rate, of the 5 s that it has
        (30, 4.0, 50.0, 4.7, None),
        (100, 4.0, 1.0, 11.0, pytest.approx(10, rel=0.1)),
        (2, 30.0, 4.7, 4.7, None),  # one waits for longer than it may, however few they are
    ],
)
def test_only_of_what_does_not_keep_up_is_told_when_nothing_will_be_left(
    reader: Reader, events: int, waits: float, into: float, out: float, catch_up: float | None
) -> None:
    stood(reader, events=events, waits=waits, into=into, out=out)
    lag = reader.lag()
    assert lag.catch_up_seconds == catch_up
    [first, *_] = shown(lag)
    said = "it keeps up" if catch_up == 0 else "it does not catch up" if catch_up is None else "caught up in"
    assert f", {said}" in first


@pytest.mark.parametrize(
    ("events", "runs", "raised"), [(60, True, set()), (100, True, {"falling_behind"}), (100, False, set())]
)
def test_only_one_that_runs_and_does_not_keep_up_falls_behind(
    reader: Reader, events: int, runs: bool, raised: set[str]
) -> None:
    """Of its 20 seconds an event has waited for ten, and of four a second it has 80."""
    reader.consumer.sync_delay_limit = timedelta(seconds=20)
    stood(reader, events=events, waits=10, into=8.0, out=4.1, runs=runs)
    assert sample_when_due()
    assert alarms() == raised


def test_an_instance_goes_on_when_it_cannot_say_where_it_stands(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="outbox.reporting")
    with Writer() as other, reader.instance():
        until(lambda: Member.objects.exists())
        other.begin()
        other.execute("LOCK TABLE outbox_consumer_member, outbox_consumer_position, outbox_partition_end")
        happened = datetime.now(UTC) - timedelta(minutes=1)
        send(*(record_of(reader.event(about="a"), number=n, at=happened) for n in (1, 2)))
        until(lambda: reader.processed() == 2)
        until(lambda: "cannot say where it stands" in caplog.text)
        other.end()
        until(lambda: [part.reached for part in reader.lag().partitions] == [2, 0])
        until(lambda: slowest(reader) >= 60)  # what could not be said then is said later


def test_what_kafka_has_is_believed_when_a_topic_begins_again(reader: Reader) -> None:
    """An end that was told long ago, of a topic that has been deleted and made anew since."""
    place = {"topic": reader.topic.name, "partition": 0}
    PartitionEnd.objects.create(**place, next_offset=5_000)
    Position.objects.create(consumer=reader.consumer.name, **place, reached=5_000)
    send(record_of(reader.event(about="a"), number=1))
    with reader.instance():
        until(lambda: [(part.reached, part.end) for part in reader.lag().partitions] == [(1, 1), (0, 0)])
