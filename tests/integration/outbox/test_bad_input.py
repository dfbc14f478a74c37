"""What a consumer may meet: strange events, handlers that misbehave, a database that goes at any moment."""

import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from outbox import Delivery, publish
from outbox.config import config
from outbox.consumer_models import LostStretch
from outbox.errors import TransactionEnded
from outbox.ids import new_id
from outbox.kafka import Record
from outbox.models import (
    DeadLetter,
    InboxEntry,
    LetterState,
    OutboxEvent,
    ParkedKey,
    TopicRecord,
    WaitingEvent,
)
from outbox.processor import Processor
from outbox.registry import Route
from outbox.repair import letters
from outbox.repair.acts import Operator, Result
from tests.database_link import Cut, DatabaseLink, Statement, relays_connect_through
from tests.engine import Noted, record_of, send, until
from tests.integration.outbox.listeners import Listener, instance, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def outcomes(listener: Listener) -> list[str]:
    mine = InboxEntry.objects.filter(consumer=listener.consumer.name)
    return sorted(mine.values_list("outcome", flat=True))


def structured(listener: Listener, **changes: Any) -> Record:
    """A CloudEvent as one JSON object, as its key's first."""
    now = datetime.now(UTC)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(new_id(now)),
        "source": "//elsewhere",
        "type": listener.event.type,
        "time": now.isoformat(),
        "sequence": "1",
        "data": {"about": "a", "text": "structured"},
        **changes,
    }
    value = json.dumps({name: member for name, member in event.items() if member is not ...}).encode()
    headers: list[tuple[str, bytes | None]] = [
        ("content-type", b"application/cloudevents+json; charset=UTF-8")
    ]
    return Record(listener.topic.name, 0, 0, b"a", value, headers, now)


def test_a_structured_event_is_read_like_a_binary_one(listener: Listener) -> None:
    record = structured(listener, extension=True, count=7, other=None)
    Processor(listener.consumer).run([record])
    [second] = notes(listener, "a", "binary", first=2)
    Processor(listener.consumer).run([second, record])
    encoded = structured(listener, data=..., data_base64="eyJhYm91dCI6ImEiLCJ0ZXh0IjoiYjY0In0=", sequence="3")
    Processor(listener.consumer).run([encoded])
    assert listener.calls == ["structured", "binary", "b64"]
    assert outcomes(listener) == ["processed"] * 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": ...}, "no ce_id"),
        ({"specversion": "2.0"}, "1.0 is read here"),
        ({"type": ["x"]}, "'type' is no string"),
        ({"data": ..., "data_base64": "?"}, "not Base64"),
        ({"data": ..., "data_base64": 7}, "not Base64"),
        ({"data": ["no", "event"]}, "Expected `object`"),
    ],
)
def test_a_structured_event_that_is_none_says_why(listener: Listener, changes: Any, says: str) -> None:
    Processor(listener.consumer).run([structured(listener, **changes)])
    assert says in DeadLetter.objects.get().error


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (b"application/cloudevents+json", b"[1]", "no CloudEvent in JSON"),
        (b"application/cloudevents+json", None, "no CloudEvent in JSON"),
        (b"application/cloudevents-batch+json", b"[]", "JSON is read here"),
        (b"application/cloudevents+avro", b"\x00", "JSON is read here"),
    ],
)
def test_other_structures_say_what_they_are(
    listener: Listener, kind: bytes, value: bytes | None, says: str
) -> None:
    headers: list[tuple[str, bytes | None]] = [("content-type", kind)]
    Processor(listener.consumer).run(
        [Record(listener.topic.name, 0, 0, None, value, headers, datetime.now(UTC))]
    )
    assert says in DeadLetter.objects.get().error


def test_a_version_to_come_is_unhandled(listener: Listener) -> None:
    future = record_of(listener.event(about="a"), headers={"ce_type": b"tests.Noted.v2"})
    Processor(listener.consumer).run([future, *notes(listener, "a", "2", first=2)])
    assert outcomes(listener) == ["processed", "unhandled"]


def test_however_many_bad_records_there_are_the_statements_are_as_many(listener: Listener) -> None:
    def statements(name: str, *, keys: int, records: int) -> int:
        moment = datetime.now(UTC)
        bad = [
            Record(
                listener.topic.name,
                0,
                keys * 1_000 + number,
                f"{name}-{number % keys}".encode(),
                b"?",
                [],
                moment,
            )
            for number in range(records)
        ]
        with CaptureQueriesContext(connection) as captured:
            Processor(listener.consumer).run(bad)
        return len(captured)

    statements("first", keys=1, records=2)
    assert statements("few", keys=8, records=10) == statements("many", keys=300, records=500)
    assert DeadLetter.objects.count() == ParkedKey.objects.count() == 1 + 8 + 300
    assert WaitingEvent.objects.count() == 1 + 2 + 200


def _commits(_: Delivery[Noted]) -> None:
    transaction.commit()


def _commits_in_sql(_: Delivery[Noted]) -> None:
    with connection.cursor() as sql:
        sql.execute("COMMIT")


def _commits_past_django(_: Delivery[Noted]) -> None:
    connection.connection.commit()


def _commits_and_begins_anew_past_django(_: Delivery[Noted]) -> None:
    connection.connection.execute("COMMIT; BEGIN")


def _leaves_a_block_open(_: Delivery[Noted]) -> None:
    transaction.atomic().__enter__()


def _leaves_a_block_open_and_fails(_: Delivery[Noted]) -> None:
    transaction.atomic().__enter__()
    raise ValueError("after that")


def _closes_the_connection(_: Delivery[Noted]) -> None:
    connection.close()


def _rolls_back(_: Delivery[Noted]) -> None:
    transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("misbehave", "cause"),
    [
        (_commits, "TransactionManagementError"),
        (_commits_in_sql, "TransactionEnded"),
        (_commits_past_django, "TransactionEnded"),
        (_leaves_a_block_open, "TransactionEnded"),
        (_leaves_a_block_open_and_fails, "ValueError"),
        (_closes_the_connection, "TransactionEnded"),
        (_rolls_back, "TransactionEnded"),
    ],
)
def test_a_handler_that_meddles_with_the_transaction_loses_nobodys_effect(
    listener: Listener, misbehave: Callable[[Delivery[Noted]], None], cause: str
) -> None:
    handle = listener.handle

    def meddle(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        publish(Noted(about="effect", text=delivery.event.text))
        if delivery.event.text == "bad":
            misbehave(delivery)

    listener.consumer.routes[listener.event.type] = Route(listener.event, meddle)
    with instance(listener):
        send(*notes(listener, "a", "1", "2"), *notes(listener, "b", "bad"), *notes(listener, "c", "3", "4"))
        until(lambda: len(outcomes(listener)) == 5)
    assert outcomes(listener) == ["dead", *["processed"] * 4]
    letter = DeadLetter.objects.get()
    assert (letter.key, letter.cause) == ("b", cause)
    published = [Noted.from_json(bytes(event.payload)).text for event in OutboxEvent.objects.all()]  # type: ignore[attr-defined]
    assert sorted(published) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        " /* now */ commit work",
        "-- now\nEND",
        "COMMIT AND CHAIN",
        "COMMIT; BEGIN",
        "SELECT 1; COMMIT; BEGIN",
        "SELECT ';'; -- ;\n ROLLBACK; BEGIN;",
        "rollback",
        "ROLLBACK TRANSACTION",
        "abort",
        "PREPARE TRANSACTION 'mine'",
    ],
)
def test_a_handlers_own_commit_is_refused_before_it_is_made(listener: Listener, statement: str) -> None:
    def meddle(delivery: Delivery[Noted]) -> None:
        TopicRecord.objects.create(name="effect", partitions=1, applied_at=delivery.occurred_at)
        with connection.cursor() as sql:
            sql.execute(statement)

    listener.consumer.routes[listener.event.type] = Route(listener.event, meddle)
    with pytest.raises(TransactionEnded, match="its consumer commits"):
        Processor(listener.consumer).run(notes(listener, "a", "1"))
    assert not TopicRecord.objects.filter(name="effect").exists()


def test_a_statement_may_have_semicolons_and_speak_of_commits(listener: Listener) -> None:
    def chatty(delivery: Delivery[Noted]) -> None:
        listener.handle(delivery)
        with connection.cursor() as sql:
            sql.execute("SELECT '; COMMIT'; SELECT 2 -- ; COMMIT")

    listener.consumer.routes[listener.event.type] = Route(listener.event, chatty)
    Processor(listener.consumer).run(notes(listener, "a", "1", "2"))
    assert outcomes(listener) == ["processed"] * 2


@pytest.mark.parametrize("waits", [False, True])
def test_a_commit_that_nothing_sees_is_found_by_the_transaction_being_another(
    listener: Listener, *, waits: bool
) -> None:
    """It is blamed on its event, read from Kafka or released by a gap that closes, and not made again."""
    calls: list[str] = []

    def meddle(delivery: Delivery[Noted]) -> None:
        calls.append(delivery.event.text)
        if delivery.event.text == "bad":
            _commits_and_begins_anew_past_django(delivery)

    listener.consumer.routes[listener.event.type] = Route(listener.event, meddle)
    one, two, bad = notes(listener, "a", "1", "2", "bad")
    with instance(listener):
        send(one, bad if waits else two)
        until(lambda: len(outcomes(listener)) == 2)
        send(two if waits else bad, *notes(listener, "b", "3"))
        until(lambda: len(outcomes(listener)) == 4 and outcomes(listener)[0] == "dead")
    letter = DeadLetter.objects.get()
    assert (letter.key, letter.number, letter.cause) == ("a", 3, "TransactionEnded")
    assert calls.count("bad") <= 2  # in its batch, and alone

    act = letters.replay(letter_id=letter.pk, operator=Operator("anna", "try again"))
    assert act.result is Result.DIED
    letter.refresh_from_db()
    assert (letter.state, letter.attempts) == (LetterState.OPEN, 2)


@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_the_drivers_own_commit_is_refused_whatever_follows_it(listener: Listener, name: str) -> None:
    """With the next statement it would begin anew, and look as if nothing had happened."""

    def meddle(delivery: Delivery[Noted]) -> None:
        TopicRecord.objects.create(name=delivery.event.text, partitions=1, applied_at=delivery.occurred_at)
        if delivery.event.text == "bad":
            getattr(connection.connection, name)()
            TopicRecord.objects.filter(name="nothing").exists()

    listener.consumer.routes[listener.event.type] = Route(listener.event, meddle)
    with instance(listener):
        send(*notes(listener, "a", "1", "2"), *notes(listener, "b", "bad"), *notes(listener, "c", "3"))
        until(lambda: len(outcomes(listener)) == 4)
    assert outcomes(listener) == ["dead", *["processed"] * 3]
    assert set(TopicRecord.objects.filter(partitions=1).values_list("name", flat=True)) >= {"1", "2", "3"}
    assert not TopicRecord.objects.filter(name="bad").exists()


def test_a_handler_may_roll_back_to_its_savepoints(listener: Listener) -> None:
    def careful(delivery: Delivery[Noted]) -> None:
        with suppress(ValueError), transaction.atomic():
            TopicRecord.objects.create(name="given up", partitions=1, applied_at=delivery.occurred_at)
            raise ValueError
        with connection.cursor() as sql:
            for statement in ("SAVEPOINT mine", "ROLLBACK WORK TO mine", "rollback to savepoint mine"):
                sql.execute(statement)
        TopicRecord.objects.create(name="effect", partitions=1, applied_at=delivery.occurred_at)

    listener.consumer.routes[listener.event.type] = Route(listener.event, careful)
    Processor(listener.consumer).run(notes(listener, "a", "1"))
    assert outcomes(listener) == ["processed"]
    assert TopicRecord.objects.filter(name="effect").exists()
    assert not TopicRecord.objects.filter(name="given up").exists()


def test_a_handler_may_publish_a_huge_fan_out(listener: Listener) -> None:
    def fan_out(delivery: Delivery[Noted]) -> None:
        for number in range(5_000):
            publish(Noted(about=f"{number % 50}", text=delivery.event.text))

    listener.consumer.routes[listener.event.type] = Route(listener.event, fan_out)
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: listener.processed() == 1, seconds=60)
    assert OutboxEvent.objects.count() == 5_000
    assert set(OutboxEvent.objects.filter(number=100).values_list("key", flat=True)) == {*map(str, range(50))}


@pytest.mark.parametrize("cut", [*Cut])
def test_wherever_the_database_is_lost_an_event_is_neither_lost_nor_doubled(
    listener: Listener, cut: Cut, stack: Any
) -> None:
    """At every statement of a batch, its commit among them: each event is published from once."""
    seen: set[str] = set()

    commits = itertools.count()

    def lose_once(statement: Statement) -> Cut | None:
        # Not only batches commit: what is taken over, and suspects, are written down as well.
        text = f"{statement.text} {next(commits) // 2}" if statement.text == "COMMIT" else statement.text
        if text in seen or len(seen) > 80:
            return None
        seen.add(text)
        return cut

    handle = listener.handle

    def answer(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        publish(Noted(about="effect", text=delivery.event.text))

    listener.consumer.routes[listener.event.type] = Route(listener.event, answer)
    with (
        DatabaseLink(_url(), cut=lose_once) as link,
        relays_connect_through(link, threads="outbox-consumer"),
        instance(listener),
    ):
        # A batch with a dead letter, a gap that closes, and others.
        send(*notes(listener, "a", "1", "3", "2"), *notes(listener, "b", "4"))
        send(record_of(listener.event(about="g", text="7"), number=1))
        send(record_of(listener.event(about="g", text="9"), number=3))
        until(lambda: len(outcomes(listener)) == 6, seconds=240)
        send(record_of(listener.event(about="g", text="8"), number=2))
        until(lambda: listener.processed() == 7, seconds=240)
    assert {"COMMIT 0", "COMMIT 1", "COMMIT 2"} <= seen, seen
    published = [Noted.from_json(bytes(event.payload)).text for event in OutboxEvent.objects.all()]  # type: ignore[attr-defined]
    assert sorted(published) == ["1", "2", "3", "4", "7", "8", "9"]
    assert not DeadLetter.objects.exists()


def test_what_was_committed_and_not_heard_of_is_not_run_again(listener: Listener) -> None:
    """The answer to the commit of a batch is lost: whether it was done, only the inbox can tell."""
    claimed, lost = False, False

    def lose_the_answer(statement: Statement) -> Cut | None:
        nonlocal claimed, lost
        claimed |= statement.text.startswith("INSERT INTO outbox_inbox")
        if lost or not claimed or statement.text != "COMMIT":
            return None
        lost = True
        return Cut.AFTER

    def each_once() -> bool:
        again = [text for text, calls in Counter(listener.calls).items() if calls > 1]
        assert not again, f"{again} had been committed"
        return listener.processed() == 4

    plain = record_of(listener.event(about="p", text="plain"), number=None)
    send(*notes(listener, "a", "1", "2"), plain)
    with (
        DatabaseLink(_url(), cut=lose_the_answer) as link,
        relays_connect_through(link, threads="outbox-consumer"),
        instance(listener),
    ):
        until(lambda: lost)
        send(*notes(listener, "a", "3", first=3))
        until(each_once, seconds=60)
    assert sorted(listener.calls) == ["1", "2", "3", "plain"]
    assert not DeadLetter.objects.exists()


def _url() -> str:
    settings = connection.settings_dict
    user, password = settings["USER"], settings["PASSWORD"]
    return f"postgresql://{user}:{password}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"


def test_records_deleted_before_they_were_read_are_said_and_listed(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: listener.processed() == 1)
    send(*notes(listener, "a", "2", "3", "4", first=2))
    admin = AdminClient({**config().kafka})
    for future in admin.delete_records([TopicPartition(listener.topic.name, 0, 3)]).values():
        future.result()
    with caplog.at_level(logging.ERROR), instance(listener):
        until(lambda: len(outcomes(listener)) == 2)
        until(lambda: LostStretch.objects.exists())
    lost = LostStretch.objects.get()
    assert (lost.consumer_group, lost.topic, lost.partition, lost.first, lost.last) == (
        listener.consumer.name,
        listener.topic.name,
        0,
        1,
        2,
    )
    assert "2 records are skipped" in caplog.text
    assert ParkedKey.objects.get().cause == "gap"
    assert listener.calls == ["1"]


def test_a_gap_that_lasts_too_long_is_said_once(
    listener: Listener, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "GAP_ALARM": 0.1}
    config.cache_clear()
    with caplog.at_level(logging.ERROR), instance(listener):
        send(*notes(listener, "a", "1"), *notes(listener, "a", "3", first=3))
        until(lambda: ParkedKey.objects.filter(alarmed_at__isnull=False).exists())
        until(lambda: "waits for its event 2" in caplog.text)
        send(*notes(listener, "a", "2", first=2))
        until(lambda: listener.processed() == 3)
    assert caplog.text.count("waits for its event") == 1
    assert not ParkedKey.objects.exists()
