"""Each alarm is raised by its fault, and ended by what mends it."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from pytest_django import Settings

from outbox import NonRecoverable, Topic, pausing, publish, refusals, registry
from outbox.alerts import checks
from outbox.alerts.alarms import Alarm, Notice, Watch
from outbox.alerts.heartbeat import a_task_runs
from outbox.config import config
from outbox.consumer_models import LostStretch
from outbox.ids import lowest_id, time_of
from outbox.kafka import Cluster, Stretch
from outbox.losses import Losses
from outbox.models import DeadLetter, ParkedKey, Refusal
from outbox.partitions import WIDTH, Span, attaching, make_partitions, weeks_of
from outbox.positions import LagSample, Member, PartitionEnd, Position
from outbox.relay import Relay
from outbox.repair.acts import Operator
from outbox.repair.letters import replay
from outbox.sampling import sample_when_due
from tests.database_clock import DatabaseClock
from tests.engine import TOPICS, Running, new_topic, noted_on, send, until
from tests.integration.outbox.alerts.looking import look, present
from tests.integration.outbox.listeners import Listener, instance, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

OPS = Operator("ops", "mended")


class Broken(NonRecoverable):
    """It cannot be processed."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    """The only consumer there is."""
    before = dict(registry._consumers)
    registry._consumers.clear()
    yield Listener(new_topic(partitions=2))
    registry._consumers.clear()
    registry._consumers.update(before)


def relaying() -> Running:
    return Running(lambda stop: Relay(stop=stop))


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def test_without_a_relay_and_with_one(listener: Listener) -> None:
    with transaction.atomic():
        publish(listener.event(about="a"), at=ago(seconds=40))
    alarm = look()["no_relay", ""]
    assert alarm.severity == "critical"
    assert "the oldest event in the outbox has waited for 0 s" in alarm.said  # however long ago it happened
    assert "run_relay" in alarm.advice
    with relaying():
        until(lambda: ("no_relay", "") not in look())


def test_kafka_is_away_while_there_is_nothing_to_send(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = replace(config(), kafka={"bootstrap.servers": "127.0.0.1:1", "log_level": "0"})
    with monkeypatch.context() as patch:
        patch.setattr("outbox.alerts.checks.config", lambda: away)
        alarm = look()["kafka_away", ""]
        assert alarm.severity == "critical"
        assert "Kafka does not answer" in alarm.said
    assert ("kafka_away", "") not in look()


def test_periodic_tasks_that_have_ceased(listener: Listener) -> None:
    assert ("no_tasks", "") not in look()  # none has ever run: a project may do without
    a_task_runs()
    assert ("no_tasks", "") not in look()
    Watch.objects.update(tasks_at=ago(minutes=5))
    alarm = look()["no_tasks", ""]
    assert "has run for 5 min" in alarm.said
    assert "celery -A PROJECT beat" in alarm.advice
    a_task_runs()
    assert ("no_tasks", "") not in look()


def test_periodic_tasks_that_have_never_run_are_missed_where_they_are_scheduled(
    listener: Listener, settings: Settings
) -> None:
    look()
    Watch.objects.update(begun_at=ago(minutes=6))
    assert ("no_tasks", "") not in look()  # a project may do without
    settings.OUTBOX = {**settings.OUTBOX, "PERIODIC_TASKS": True}
    config.cache_clear()
    alarm = look()["no_tasks", ""]
    assert "has run for 6 min" in alarm.said
    assert alarm.since == Watch.objects.get().begun_at
    Watch.objects.update(begun_at=ago(minutes=4))
    assert ("no_tasks", "") not in look()  # processes are being started
    Watch.objects.update(begun_at=ago(minutes=6))
    assert ("no_tasks", "") in look()
    a_task_runs()
    assert ("no_tasks", "") not in look()


def test_a_relay_that_cannot_send(listener: Listener, settings: Settings) -> None:
    topic = Topic(f"missing-{uuid4().hex[:8]}", partitions=1, retention=timedelta(days=1))
    TOPICS.append(topic)
    # What happened long ago has not waited for as long: it may have been brought from elsewhere.
    with transaction.atomic():
        published = publish(noted_on(topic)(about="a"), at=ago(minutes=3))
    with relaying():
        until(lambda: not {"no_relay"} & {cause for cause, _ in look()})
        assert ("backlog", "") not in look()
        settings.OUTBOX = {**settings.OUTBOX, "ALERTS": {"BACKLOG": 0.5}}
        config.cache_clear()
        until(lambda: ("backlog", "") in look())
        alarm = present()["backlog", ""]
        assert alarm.since == time_of(published)
        assert topic.name in alarm.said
        Cluster(config().kafka).create_topic(topic.name, partitions=1, replication=1, config={})
        with connection.cursor() as sql:
            sql.execute("INSERT INTO outbox_topic (name, partitions) VALUES (%s, 1)", [topic.name])
        until(lambda: not {"backlog", "no_relay"} & {cause for cause, _ in look()})


def test_an_event_that_kafka_refuses(listener: Listener) -> None:
    topic = new_topic(partitions=1, **{"max.message.bytes": "2000"})
    with transaction.atomic():
        refused = publish(noted_on(topic)(about="a", text=secrets.token_hex(5_000)))
        publish(noted_on(topic)(about="a", text="behind it"))
    with relaying():
        until(lambda: Refusal.objects.count() == 2)
        alarm = look()["refused", topic.name]
        assert "2 events" in alarm.said
        refusals.discard(event_id=refused, reason="too large for any reader")
        until(lambda: not Refusal.objects.exists())
    assert ("refused", topic.name) not in look()


def test_a_consumer_of_which_no_instance_runs(listener: Listener) -> None:
    name = listener.consumer.name
    alarm = look()["no_instance", name]
    assert alarm.severity == "critical"
    assert f"run_consumer {name}" in alarm.advice
    with instance(listener):
        until(lambda: ("no_instance", name) not in look())


def test_after_a_time_in_which_nobody_could_look_nobody_is_missed_at_once(listener: Listener) -> None:
    """A database that hung heard from nobody; who is there says so before the next look."""
    missing = {("no_relay", ""), ("no_instance", listener.consumer.name)}
    assert look().keys() >= missing

    def look_late() -> set[tuple[str, str]]:
        LagSample.objects.all().delete()
        Watch.objects.update(checked_at=ago(seconds=40))
        assert sample_when_due()
        return set(present())

    assert look_late() >= missing, "what was missing already is not taken for found"
    Alarm.objects.all().delete()
    assert not look_late() & missing
    assert look().keys() >= missing


def test_it_is_late_since_its_limit_was_over(listener: Listener) -> None:
    for partition, end in enumerate((100, 0)):
        PartitionEnd.objects.create(topic=listener.topic.name, partition=partition, next_offset=end)
    since = ago(minutes=2)
    Position.objects.create(
        consumer=listener.consumer.name, topic=listener.topic.name, partition=0, reached=0, clear_until=since
    )
    alarm = look()["late", listener.consumer.name]
    assert abs(alarm.since - since - listener.consumer.sync_delay_limit) < timedelta(seconds=2)


def test_what_follows_from_another_fault_is_told_of_nobody(listener: Listener, settings: Settings) -> None:
    """Of a consumer that does not run people hear once, and not also that it is late, unless it stays so."""
    settings.OUTBOX = {**settings.OUTBOX, "ALERTS": {"HOLD": 10}}
    config.cache_clear()
    name = listener.consumer.name
    for partition, end in enumerate((100, 0)):
        PartitionEnd.objects.create(topic=listener.topic.name, partition=partition, next_offset=end)
    Position.objects.create(
        consumer=name, topic=listener.topic.name, partition=0, reached=0, clear_until=ago(minutes=2)
    )
    with DatabaseClock() as database:
        for seconds in (0, 20):
            database.be_ahead(timedelta(seconds=seconds))
            late = look()["late", name]
            assert late.said.endswith("100 events wait in Kafka: no instance of it runs.")
            assert f"run_consumer {name}" in late.advice
        assert "no_instance" in told_of(name)
        assert "late" not in told_of(name)
        pausing.pause(consumer=listener.consumer, by="ana", reason="a look")
        database.be_ahead(timedelta(seconds=40))
        runs(listener)
        late = look()["late", name]
        assert late.said.endswith("it is paused.")
        assert f"consumers resume {name}" in late.advice
        pausing.resume(consumer=listener.consumer, by="ana")
        for seconds, told in ((42, False), (60, True)):
            database.be_ahead(timedelta(seconds=seconds))
            runs(listener)
            late = look()["late", name]
            assert late.said.endswith("100 events wait in Kafka.")
            assert "Its log says what it waits for" in late.advice
            assert ("late" in told_of(name)) is told


def test_what_waits_for_a_relay_is_told_of_once(listener: Listener, settings: Settings) -> None:
    """Whoever hears that no relay runs need not hear of each consumer that it gets nothing."""
    settings.OUTBOX = {**settings.OUTBOX, "ALERTS": {"HOLD": 0}}
    config.cache_clear()
    name = listener.consumer.name
    for partition in range(2):
        PartitionEnd.objects.create(topic=listener.topic.name, partition=partition, next_offset=0)
        Position.objects.create(
            consumer=name, topic=listener.topic.name, partition=partition, reached=0, clear_until=Now()
        )
    with transaction.atomic():
        publish(listener.event(about="a"), at=ago(seconds=40))
    runs(listener)
    late = look()["late", name]
    assert late.said.endswith(": what is late waits in the outbox.")
    assert "run_relay" in late.advice
    assert [alarm.cause for alarm in Alarm.objects.present().worst_first()] == ["no_relay", "late"]
    runs(listener)
    look()
    assert told_of("") == {"no_relay"}
    assert "late" not in told_of(name)


def test_while_kafka_is_away_all_that_follows_stands_after_it_and_says_so(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it has been noticed first, by whom Kafka was not asked yet."""
    name = listener.consumer.name
    for partition, end in enumerate((100, 0)):
        PartitionEnd.objects.create(topic=listener.topic.name, partition=partition, next_offset=end)
    Position.objects.create(
        consumer=name, topic=listener.topic.name, partition=0, reached=0, clear_until=ago(minutes=2)
    )
    runs(listener)
    with relaying():
        until(lambda: set(look()) == {("late", name)})
        away = replace(config(), kafka={"bootstrap.servers": "127.0.0.1:1", "log_level": "0"})
        monkeypatch.setattr("outbox.alerts.checks.config", lambda: away)
        runs(listener)
        late = look()["late", name]
        assert late.said.endswith("100 events wait in Kafka: Kafka does not answer.")
        assert "Kafka's brokers" in late.advice
        assert [one.cause for one in Alarm.objects.present().worst_first()] == ["kafka_away", "late"]


def runs(listener: Listener) -> None:
    """As an instance says of itself."""
    Member.objects.all().delete()
    Member.objects.create(
        consumer=listener.consumer.name, name="host:1", started_at=Now(), seen_at=Now(), partitions=[]
    )


def told_of(name: str) -> set[str]:
    """Of which causes people have been told."""
    return set(
        Notice.objects.filter(alarm__subject=name, kind="begun").values_list("alarm__cause", flat=True)
    )


def test_a_consumer_that_paused_itself(listener: Listener, settings: Settings) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "FAILING_KEYS": 3}
    config.cache_clear()
    name = listener.consumer.name
    listener.fail = lambda _: ValueError("a bad deploy")
    with instance(listener):
        send(*(note for number in range(6) for note in notes(listener, f"key-{number}", "1")))
        until(lambda: pausing.pause_of(listener.consumer))
    alarm = look()["paused_itself", name]
    assert "ValueError: a bad deploy" in alarm.said
    assert ("paused", name) not in present()
    pausing.resume(consumer=listener.consumer, by="ops")
    assert ("paused_itself", name) not in look()


def test_a_pause_that_somebody_has_forgotten(listener: Listener) -> None:
    name = listener.consumer.name
    with DatabaseClock() as database:
        pausing.pause(consumer=listener.consumer, by="ana", reason="a look at the data")
        assert ("paused", name) not in look()
        database.be_ahead(timedelta(minutes=61))
        alarm = look()["paused", name]
        assert "has been paused by ana for 61 min: a look at the data" in alarm.said
        pausing.resume(consumer=listener.consumer, by="ana")
        assert ("paused", name) not in look()


def test_dead_letters_until_they_are_settled(listener: Listener) -> None:
    name = listener.consumer.name
    listener.fail = lambda _: Broken()
    with instance(listener):
        send(*notes(listener, "a", "1"), *notes(listener, "b", "1"))
        until(lambda: DeadLetter.objects.count() == 2)
    alarm = look()["dead_letters", name]
    assert "2 events" in alarm.said
    assert alarm.since == min(DeadLetter.objects.values_list("died_at", flat=True))
    listener.fail = lambda _: None
    first, second = DeadLetter.objects.all()
    replay(letter_id=first.id, operator=OPS)
    again = look()["dead_letters", name]
    assert (again.id, again.said) == (alarm.id, f"{name} could not process 1 event; its key waits.")
    replay(letter_id=second.id, operator=OPS)
    assert ("dead_letters", name) not in look()


def test_a_gap_that_lasts(listener: Listener) -> None:
    name = listener.consumer.name
    first, missing, third = notes(listener, "a", "1", "2", "3")
    with instance(listener):
        send(first, third)
        until(lambda: ParkedKey.objects.filter(cause="gap").exists())
        assert ("gaps", name) not in look()
        ParkedKey.objects.update(parked_at=ago(seconds=61))
        assert "1 key" in look()["gaps", name].said
        send(missing)
        until(lambda: listener.processed() == 3)
    assert ("gaps", name) not in look()


def test_records_that_kafka_deleted_unread(listener: Listener) -> None:
    name = listener.consumer.name
    losses = Losses(listener.consumer, group=name, alarm_after=60.0)
    losses.note([Stretch(listener.topic.name, 0, 5, 9)])
    losses.tell()
    assert "1 stretch of records" in look()["lost", name].said
    LostStretch.objects.update(noticed_at=ago(hours=25))
    assert ("lost", name) not in look()


def test_partitions_that_were_not_made(listener: Listener) -> None:
    assert ("partitions", "") not in look()
    last = weeks_of("outbox_publication", using="default")[1]
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {last.name('outbox_publication')}")
    try:
        assert "next" in look()["partitions", ""].said
        with connection.cursor() as sql:
            sql.execute(
                f"CREATE TABLE {last.name('outbox_publication')}"
                " (LIKE outbox_publication INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            )
            sql.execute(attaching("outbox_publication", last))
    finally:
        make_partitions()
    assert ("partitions", "") not in look()


@pytest.mark.parametrize("table", ["outbox_event", "outbox_inbox"])
def test_weeks_that_nobody_drops(listener: Listener, table: str) -> None:
    cause = f"{table.removesuffix('_event').removeprefix('outbox_')}_weeks"
    first = weeks_of(table, using="default")[0]
    old = [Span(first.start - WIDTH * back) for back in range(1, 16)]
    with connection.cursor() as sql:
        if table == "outbox_inbox":
            sql.execute("ALTER TABLE outbox_inbox DETACH PARTITION outbox_inbox_past")
        for span in old:
            sql.execute(
                f"CREATE TABLE {span.name(table)} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            )
            sql.execute(attaching(table, span))
    try:
        assert f"since {old[-1].start:%Y-%m-%d}" in look()[cause, ""].said
    finally:
        with connection.cursor() as sql:
            for span in old:
                sql.execute(f"DROP TABLE {span.name(table)}")
            if table == "outbox_inbox":
                sql.execute(
                    "ALTER TABLE outbox_inbox ATTACH PARTITION outbox_inbox_past"
                    f" FOR VALUES FROM (MINVALUE) TO ('{lowest_id(first.start)}')"
                )
    assert (cause, "") not in look()


def test_transaction_ids_that_run_out(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TRANSACTIONS", -1)
    assert "transactions old" in look()["wraparound", ""].said
    monkeypatch.undo()
    assert ("wraparound", "") not in look()


def test_who_looks_without_any_consumer_looks_all_the_same(listener: Listener) -> None:
    registry._consumers.clear()
    assert set(look()) == {("no_relay", "")}
    from outbox.sampling import sample_when_due

    # Twice: the ten seconds of the first look may have ended by now.
    assert not (sample_when_due() and sample_when_due())


def test_what_is_over_is_kept_for_a_month(listener: Listener) -> None:
    with DatabaseClock() as database:
        look()
        with relaying():
            until(lambda: ("no_relay", "") not in look())
        ended = Alarm.objects.get(cause="no_relay")
        assert ended.ended_at is not None
        database.be_ahead(timedelta(days=29))
        look()
        assert Alarm.objects.filter(id=ended.id).exists()
        database.be_ahead(timedelta(days=31))
        look()
        assert not Alarm.objects.filter(id=ended.id).exists()
