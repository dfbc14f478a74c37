"""Old weeks of the inbox go once nothing of them is delivered again; what comes all the same is no guess."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from confluent_kafka import Producer
from django.core.management import CommandError, call_command
from django.db import connection

from outbox import registry
from outbox.config import config
from outbox.consumer_models import Forgotten
from outbox.inbox_pruning import PAST, prune_inbox
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, WaitingEvent
from outbox.partitions import Span, attaching, make_partitions, spans, weeks_of
from outbox.processor import Processor
from tests.engine import Writer, new_topic, record_of, until
from tests.integration.outbox.listeners import Listener, instance

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

NOW = datetime.now(UTC)
MARCH = datetime(NOW.year, 3, 4, tzinfo=UTC) - timedelta(days=365)
FIRST, SECOND = list(spans(since=MARCH, until=MARCH + timedelta(days=7)))[:2]
WINDOW = timedelta(days=30)


@pytest.fixture(autouse=True)
def old_weeks() -> Iterator[None]:
    """Two weeks of long ago have partitions of their own; all before lies in the past."""
    _make_past(FIRST.start.isoformat())
    for span in (FIRST, SECOND):
        _attach(span)
    yield
    with connection.cursor() as sql:
        for span in (FIRST, SECOND):
            sql.execute(f"DROP TABLE IF EXISTS {span.name('outbox_inbox')}")
        sql.execute(f"DROP TABLE IF EXISTS {PAST}")
    make_partitions()


def _attach(span: Span) -> None:
    with connection.cursor() as sql:
        sql.execute(
            f"CREATE TABLE {span.name('outbox_inbox')}"
            " (LIKE outbox_inbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
        sql.execute(attaching("outbox_inbox", span))


def _make_past(until: str) -> None:
    from outbox.ids import lowest_id

    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {PAST}")
        sql.execute(f"CREATE TABLE {PAST} (LIKE outbox_inbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        bound = lowest_id(datetime.fromisoformat(until))
        sql.execute(
            f"ALTER TABLE outbox_inbox ATTACH PARTITION {PAST} FOR VALUES FROM (MINVALUE) TO ('{bound}')"
        )


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """The only consumer that there is; its topic keeps old records."""
    before = dict(registry._consumers)
    registry._consumers.clear()
    yield Listener(new_topic(partitions=2, **{"retention.ms": "-1"}))
    registry._consumers.clear()
    registry._consumers.update(before)


def pruned(**options: object) -> dict[str, str | None]:
    return {f"{week.span.start:%m-%d}": week.kept for week in prune_inbox(window=WINDOW, **options)}  # type: ignore[arg-type]


def names() -> list[str]:
    return [f"{span.start:%m-%d}" for span in (FIRST, SECOND)]


def old(listener: Listener, *, days: int, number: int = 1, about: str = "a") -> Record:
    return record_of(
        listener.event(about=about, text="old"), number=number, at=FIRST.start + timedelta(days=days)
    )


def send_dated(record: Record) -> None:
    """With Kafka's timestamp, too, as it was then."""
    assert record.timestamp is not None
    producer = Producer(dict(config().kafka))
    producer.produce(
        record.topic,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
        partition=record.partition,
        timestamp=int(record.timestamp.timestamp() * 1_000),
    )
    assert producer.flush(30) == 0


def test_weeks_go_when_all_consumers_have_moved_past_them(alone: Listener) -> None:
    send_dated(old(alone, days=1))
    behind = f"{alone.consumer.name} has yet to come to"
    assert str(pruned()[names()[0]]).startswith(behind)
    with instance(alone):
        until(lambda: alone.processed() == 1)
    assert pruned(dry_run=True) == dict.fromkeys(names())
    assert FIRST in weeks_of("outbox_inbox", using="default")
    assert pruned() == dict.fromkeys(names())
    assert not {FIRST, SECOND} & {*weeks_of("outbox_inbox", using="default")}
    forgotten = Forgotten.objects.get()  # in the second week it had done nothing
    assert (forgotten.consumer, forgotten.since, forgotten.until) == (
        alone.consumer.name,
        FIRST.start,
        FIRST.end,
    )
    assert pruned() == {}


def test_what_was_forgotten_and_comes_again_is_dead_lettered_once_and_nothing_is_guessed(
    alone: Listener,
) -> None:
    processor = Processor(alone.consumer)
    known, unknown = old(alone, days=1), old(alone, days=2, about="b")
    processor.run([known])
    pruned()
    again = Record(known.topic, 0, 7, known.key, known.value, known.headers, known.timestamp)
    young = record_of(alone.event(about="c", text="young"))
    processor.run([again, young])
    processor.run([again])
    processor.run([unknown])
    assert alone.calls == ["old", "young"]
    assert [letter.cause for letter in DeadLetter.objects.all()] == ["ForgottenEvent"] * 2
    # Another consumer has never been there: for it these events are new.
    other = Listener(alone.topic)
    Processor(other.consumer).run([known, unknown])
    Processor(other.consumer).run([known])
    assert other.calls == ["old", "old"]


def test_events_of_all_times_have_a_place_afterwards(alone: Listener) -> None:
    Processor(alone.consumer).run([old(alone, days=1)])
    garbage = Record(alone.topic.name, 0, 1, None, b"?", [], NOW)
    Processor(alone.consumer).run([garbage])
    pruned()
    other = Listener(alone.topic)
    for days in (-100, 3, 10):
        Processor(other.consumer).run([old(alone, days=days, about=str(days))])
    Processor(alone.consumer).run([garbage])  # it is known still
    assert DeadLetter.objects.filter(consumer=alone.consumer.name).count() == 1
    assert other.calls == ["old"] * 3


def test_a_week_that_was_dropped_by_hand_is_waited_for_and_uses_up_nothing(
    alone: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    with connection.cursor() as sql:
        sql.execute(f"DROP TABLE {FIRST.name('outbox_inbox')}")
    with instance(alone):
        send_dated(old(alone, days=1))
        until(lambda: "waits: NoPartition" in caplog.text)
        assert not InboxEntry.objects.exists()
        _attach(FIRST)
        until(lambda: alone.processed() == 1)
    assert not DeadLetter.objects.exists()


def test_what_waits_or_is_dead_keeps_its_week(alone: Listener) -> None:
    Processor(alone.consumer).run([old(alone, days=1), old(alone, days=2, number=3)])
    assert WaitingEvent.objects.count() == 1
    assert pruned() == {names()[0]: "1 events wait"}
    Processor(alone.consumer).run([old(alone, days=3, number=2)])
    Processor(alone.consumer).run(
        [Record(alone.topic.name, 0, 5, b"x", b"?", old(alone, days=2).headers, NOW)]
    )
    assert pruned() == {names()[0]: "1 dead letters are open"}
    assert FIRST in weeks_of("outbox_inbox", using="default")


def test_a_rebuild_keeps_all(alone: Listener) -> None:
    from outbox.models import Generation

    Generation.objects.create(consumer=alone.consumer.name, generation=2, state="building")
    assert pruned() == {names()[0]: f"{alone.consumer.name} is being rebuilt"}


def test_consumers_go_on_while_it_waits_and_killed_at_any_point_it_goes_on(alone: Listener) -> None:
    Processor(alone.consumer).run([old(alone, days=1)])
    with connection.cursor() as sql:  # a run that was killed between detaching the past and attaching it
        sql.execute(f"ALTER TABLE outbox_inbox DETACH PARTITION {PAST} CONCURRENTLY")
    with Writer() as writer:
        writer.begin()
        writer.execute("SELECT count(*) FROM outbox_inbox")
        with Writer() as pruning:
            pruning.call(pruned, wait=False)

            def waits() -> bool:
                with connection.cursor() as sql:
                    sql.execute(
                        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%CONCURRENTLY' AND"
                        " wait_event_type = 'Lock'"
                    )
                    return bool(sql.fetchone() == (1,))

            until(waits)
            Processor(alone.consumer).run([record_of(alone.event(about="b", text="young"))])
            writer.end()
            until(lambda: FIRST not in weeks_of("outbox_inbox", using="default"))
    assert alone.calls == ["old", "young"]
    pruned()
    Processor(alone.consumer).run([Record(alone.topic.name, 0, 1, None, b"?", [], NOW)])
    assert InboxEntry.objects.filter(outcome="dead").exists()


def test_the_command(alone: Listener) -> None:
    Processor(alone.consumer).run([old(alone, days=1)])
    out = StringIO()
    call_command("prune_inbox", "--window-days", "30", stdout=out)
    assert f"{FIRST.start:%Y-%m-%d}: dropped" in out.getvalue()
    with pytest.raises(CommandError, match="seven days"):
        call_command("prune_inbox", "--window-days", "3")
