"""publish(): in the transaction of the change, numbered per key, or refused there and then."""

from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

import outbox
from outbox import Topic, publish
from outbox.context import caused_by
from outbox.envelope import read_envelope
from outbox.errors import (
    ContractViolation,
    EventTooLarge,
    NoPartition,
    PublishOutsideTransaction,
    UnknownTopic,
)
from outbox.ids import new_id, time_of
from outbox.models import OutboxEvent
from tests.engine import Noted, Writer, noted_on, record_of, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def stored() -> list[tuple[str | None, int | None, str]]:
    """Key, number and text of every event, in order of position."""
    rows = OutboxEvent.objects.order_by("position").values_list("key", "number", "payload")
    return [(key, number, Noted.from_json(bytes(payload)).text) for key, number, payload in rows]  # type: ignore[attr-defined]


def test_outside_a_transaction_it_is_refused() -> None:
    with pytest.raises(PublishOutsideTransaction, match=r"transaction\.atomic\(\)"):
        publish(Noted(about="a"))
    assert stored() == []


def test_it_commits_and_rolls_back_with_the_change_and_leaves_no_gap() -> None:
    with transaction.atomic():
        publish(Noted(about="a", text="1"))
    with pytest.raises(RuntimeError), transaction.atomic():
        publish(Noted(about="a", text="lost"))
        raise RuntimeError
    with transaction.atomic():
        publish(Noted(about="a", text="2"))
        publish(Noted(about="b", text="1"))
    assert stored() == [("a", 1, "1"), ("a", 2, "2"), ("b", 1, "1")]


def test_a_later_writer_of_a_key_waits_for_the_earlier_one() -> None:
    with Writer() as one, Writer() as two:
        one.begin()
        one.publish("a", "first")
        two.begin()
        two.call(lambda: publish(Noted(about="a", text="second")), wait=False)
        one.end()
        two.end()
    assert stored() == [("a", 1, "first"), ("a", 2, "second")]


def test_it_says_when_where_and_why() -> None:
    correlation, cause, at = uuid4(), uuid4(), datetime(2026, 1, 2, 3, tzinfo=UTC)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with caused_by(correlation_id=correlation, causation_id=cause, traceparent=trace), transaction.atomic():
        event_id = publish(Noted(about="a"), at=at, owner="me")
    event = OutboxEvent.objects.get()
    assert (event.id, event.occurred_at, event.owner) == (event_id, at, "me")
    assert (event.correlation_id, event.causation_id, event.traceparent) == (correlation, cause, trace)
    assert abs(time_of(event_id) - datetime.now(UTC)) < timedelta(minutes=1)
    assert int(event.txid) > 0


@pytest.mark.parametrize(
    ("event", "error", "says"),
    [
        (Noted(about=""), ContractViolation, "a key is 1 to 1024 bytes"),
        (Noted(about="a\x00b"), ContractViolation, "without control characters"),
        (Noted(about="a\nb"), ContractViolation, "without control characters"),
        (Noted(about="ü" * 600), ContractViolation, "a key is 1 to 1024 bytes"),
        (Noted(about=7), ContractViolation, "Expected `str`"),  # type: ignore[arg-type]
        (Noted(about="a", text=object()), ContractViolation, "cannot be written as JSON"),  # type: ignore[arg-type]
        (Noted(about="a", text="\ud800"), ContractViolation, "cannot be written as JSON"),
        (Noted(about="a", text="x" * 1_000_000), EventTooLarge, "carry a reference"),
    ],
)
def test_a_bad_event_is_refused_there_and_then(event: Noted, error: type[Exception], says: str) -> None:
    with transaction.atomic():
        with pytest.raises(error, match=says):
            publish(event)
        publish(Noted(about="good"))
    assert stored() == [("good", 1, "")]


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (datetime(2026, 1, 1), "aware"),  # noqa: DTZ001
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "years 1 to 9999"),
        (datetime(9999, 12, 31, 23, 30, tzinfo=timezone(-timedelta(hours=1))), "years 1 to 9999"),
        (datetime.now(UTC) + timedelta(days=30), "future"),
    ],
)
def test_a_time_that_consumers_would_refuse_is_refused(at: datetime, says: str) -> None:
    with transaction.atomic(), pytest.raises(ContractViolation, match=says):
        publish(Noted(about="a"), at=at)


@pytest.mark.parametrize("about", ["k" * 1_024, "ü" * 512, "\u202e☃", " "])
def test_what_is_published_is_what_consumers_accept(about: str) -> None:
    with transaction.atomic():
        publish(Noted(about=about), at=datetime.now(UTC) + timedelta(days=6))
    event = OutboxEvent.objects.get()
    record = record_of(Noted(about=about), number=event.number, event_id=event.id, at=event.occurred_at)
    assert read_envelope(record, now=datetime.now(UTC)).inbox_id == event.id


def test_a_block_collects_nothing_of_another_threads_transaction() -> None:
    """A thread that inherits the context has a connection, and a commit, of its own."""
    context: list[Context] = []

    def publish_there() -> None:
        with transaction.atomic():
            context[0].run(lambda: publish(Noted(about="theirs")))

    with Writer() as other, pytest.raises(RuntimeError), outbox.atomic():
        context.append(copy_context())
        other.call(publish_there)
        raise RuntimeError
    assert stored() == [("theirs", 1, "")]


def test_a_wake_up_that_fails_does_not_fail_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: str) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr("outbox.wake.wake", fail)
    with transaction.atomic():
        publish(Noted(about="a"))
    with outbox.atomic():
        publish(Noted(about="a"))
    assert len(stored()) == 2


def test_a_topic_that_is_not_declared_is_refused() -> None:
    nowhere = noted_on(Topic("nowhere", partitions=1, retention=None))
    with transaction.atomic(), pytest.raises(UnknownTopic, match="'nowhere'"):
        publish(nowhere(about="a"))


def test_text_is_kept_whatever_it_holds() -> None:
    text = "\x00 <script>alert(1)</script> \u202e ☃ \U0001f600"
    with transaction.atomic():
        publish(Noted(about="a", text=text))
    assert stored() == [("a", 1, text)]


def test_without_a_partition_for_its_time_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outbox.publishing.new_id", lambda _: new_id(datetime(2200, 1, 1, tzinfo=UTC)))
    with pytest.raises(NoPartition, match="outbox_partitions"), transaction.atomic():
        publish(Noted(about="a"))


@pytest.mark.parametrize("change", ["UPDATE outbox_event SET key = 'x'", "DELETE FROM outbox_event"])
def test_the_database_refuses_to_change_an_event(change: str) -> None:
    with transaction.atomic():
        publish(Noted(about="a"))
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(change)
    assert stored() == [("a", 1, "")]


def test_in_a_block_events_are_written_at_its_end_in_the_order_of_publishing() -> None:
    with outbox.atomic():
        for about, text in [("b", "1"), ("a", "1"), ("b", "2")]:
            publish(Noted(about=about, text=text))
        assert stored() == []
    assert stored() == [("b", 1, "1"), ("a", 1, "1"), ("b", 2, "2")]


def test_in_a_block_an_event_goes_with_its_savepoint() -> None:
    """Else there would be an event without its change."""
    with outbox.atomic():
        publish(Noted(about="a", text="kept"))
        with pytest.raises(RuntimeError), transaction.atomic():
            publish(Noted(about="a", text="lost"))
            raise RuntimeError
        with outbox.atomic():
            publish(Noted(about="a", text="inner"))
        with pytest.raises(RuntimeError), outbox.atomic():
            publish(Noted(about="a", text="lost too"))
            raise RuntimeError
    assert stored() == [("a", 1, "kept"), ("a", 2, "inner")]


def test_in_a_block_that_is_to_be_rolled_back_nothing_is_written() -> None:
    with outbox.atomic():
        publish(Noted(about="a"))
        transaction.set_rollback(True)
    assert stored() == []


def test_in_a_block_that_fails_nothing_is_written() -> None:
    with pytest.raises(RuntimeError), outbox.atomic():
        publish(Noted(about="a"))
        raise RuntimeError
    with pytest.raises(PublishOutsideTransaction):
        publish(Noted(about="a"))
    assert stored() == []


def _waiting_for_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])


def test_blocks_that_publish_in_opposite_orders_do_not_deadlock() -> None:
    """Both are stopped in mid-flight at one key; unsorted, each would then hold what the other wants."""

    def work(keys: str) -> None:
        with outbox.atomic():
            for about in keys:
                publish(Noted(about=about))

    with Writer() as holder, Writer() as one, Writer() as two:
        holder.begin()
        holder.publish("d")
        one.call(lambda: work("abcdefgh"), wait=False)
        two.call(lambda: work("hgfedcba"), wait=False)
        until(lambda: _waiting_for_locks() == 2)
        holder.end()
        for session in (one, two):
            session.call(lambda: None)
    assert sorted((key, number) for key, number, _ in stored() if key != "d") == sorted(
        (about, number) for about in "abcefgh" for number in (1, 2)
    )
    assert [number for key, number, _ in stored() if key == "d"] == [1, 2, 3]


def test_ids_are_unique_and_typed() -> None:
    with outbox.atomic():
        ids = [publish(Noted(about="a")) for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(isinstance(event_id, UUID) and event_id.version == 7 for event_id in ids)


class Untyped(Noted, frozen=True, kw_only=True):
    """A later shape of Noted, with one more field."""

    type: ClassVar[str] = "tests.Noted.v1"
    more: str = ""


def test_readers_pass_over_fields_they_do_not_know() -> None:
    read = Noted.from_json(Untyped(about="a", text="t", more="new").to_json())
    assert read == Noted(about="a", text="t")
