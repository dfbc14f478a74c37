"""One consumer's transaction: each effect once, in order per key, and what cannot be processed set aside."""

import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections

from outbox import Consumer, Delivery, NonRecoverable, handles, publish, registry
from outbox.errors import OverlappingConsumer
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, KeyProgress, OutboxEvent, ParkedKey, WaitingEvent
from outbox.processor import Processor
from tests.engine import Noted, Unheard, Writer, record_of, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


class Refused(NonRecoverable):
    """The domain says no."""


class Service:
    """A consumer whose effect is a row in a table: what it has heard, in order."""

    def __init__(self) -> None:
        self.consumer = Consumer(name=f"service-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
        self.fails: dict[str, Exception] = {}
        self.answers: set[str] = set()
        handles(self.consumer, Noted)(self.handle)
        self.processor = Processor(self.consumer)

    def handle(self, delivery: Delivery[Noted]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO heard (consumer, key, text) VALUES (%s, %s, %s)",
                [self.consumer.name, delivery.key, delivery.event.text],
            )
        if delivery.event.text in self.fails:
            raise self.fails[delivery.event.text]
        if delivery.event.text in self.answers:
            publish(Noted(about="answer", text=delivery.event.text))

    def run(self, *records: Record) -> None:
        self.processor.run(records)

    def heard(self) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT text FROM heard WHERE consumer = %s ORDER BY id", [self.consumer.name])
            return [text for (text,) in cursor.fetchall()]

    def outcomes(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for outcome in InboxEntry.objects.values_list("outcome", flat=True):
            counts[outcome] = counts.get(outcome, 0) + 1
        return counts


@pytest.fixture
def service() -> Iterator[Service]:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE heard (id bigint GENERATED ALWAYS AS IDENTITY, consumer text, key text, text text)"
        )
    before = dict(registry._consumers)
    yield Service()
    registry._consumers.clear()
    registry._consumers.update(before)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE heard")


def notes(about: str, *texts: str, first: int = 1, **options: Any) -> list[Record]:
    """Records of one key, numbered from `first`."""
    return [
        record_of(Noted(about=about, text=text), number=number, offset=number, **options)
        for number, text in enumerate(texts, start=first)
    ]


def test_effects_inbox_and_progress_commit_together(service: Service) -> None:
    service.run(*notes("a", "1", "2"), *notes("b", "3"))
    assert service.heard() == ["1", "2", "3"]
    assert service.outcomes() == {"processed": 3}
    assert dict(KeyProgress.objects.values_list("key", "number")) == {"a": 2, "b": 1}
    entry = InboxEntry.objects.get(key="b")
    assert (entry.consumer, entry.topic, entry.number, entry.type) == (
        service.consumer.name,
        "notes",
        1,
        "tests.Noted.v1",
    )
    assert entry.processed_at >= entry.occurred_at


def test_what_was_delivered_twice_has_one_effect(service: Service) -> None:
    records = notes("a", "1", "2", "3")
    service.run(*records, records[0], records[2])
    service.run(*records)
    service.run(records[1])
    assert service.heard() == ["1", "2", "3"]
    assert service.outcomes() == {"processed": 3}


def test_an_event_without_a_number_is_dropped_by_its_id_too(service: Service) -> None:
    (record,) = notes("a", "1")
    plain = record_of(Noted(about="a", text="1"), number=None)
    service.run(record, plain)
    service.run(plain)
    assert service.heard() == ["1", "1"]


def test_a_failed_batch_leaves_nothing(service: Service) -> None:
    service.fails["2"] = RuntimeError("no")
    with pytest.raises(RuntimeError):
        service.run(*notes("a", "1", "2"), *notes("b", "3"))
    assert service.heard() == []
    assert not InboxEntry.objects.exists()
    service.fails.clear()


def test_what_a_handler_publishes_commits_with_its_effect_and_names_its_cause(service: Service) -> None:
    service.answers = {"1", "2"}
    service.fails["2"] = RuntimeError("no")
    first, second = notes("a", "1", "2")
    service.run(first)
    with pytest.raises(RuntimeError):
        service.run(second)
    (event,) = OutboxEvent.objects.all()
    cause = InboxEntry.objects.get().event_id
    assert (event.causation_id, event.correlation_id, event.key) == (cause, cause, "answer")


def test_an_unhandled_type_is_passed_and_counted(service: Service) -> None:
    service.run(record_of(Unheard(about="a"), number=1), *notes("a", "2", first=2))
    assert service.heard() == ["2"]
    assert service.outcomes() == {"unhandled": 1, "processed": 1}
    assert not DeadLetter.objects.exists()


def test_a_condemned_event_parks_its_key_and_nothing_else(service: Service) -> None:
    bad, waits, waits_too = notes("a", "bad", "waits", "waits too")
    service.fails["bad"] = Refused("not this one")
    with pytest.raises(Refused):
        service.run(bad)
    service.processor.condemn(service.fails["bad"], attempts=1)
    service.run(bad, waits, *notes("b", "flows"))
    service.run(waits_too)
    assert service.heard() == ["flows"]
    letter = DeadLetter.objects.get()
    assert (letter.cause, letter.error, letter.key, letter.number) == ("Refused", "not this one", "a", 1)
    assert (letter.topic, letter.partition, letter.offset) == ("notes", 0, 1)
    assert bytes(letter.payload or b"") == bad.value
    assert "Refused: not this one" in letter.traceback
    assert ParkedKey.objects.get().cause == "dead_letter"
    waiting = WaitingEvent.objects.order_by("id")
    assert [Noted.from_json(bytes(event.payload or b"")).text for event in waiting] == ["waits", "waits too"]  # type: ignore[attr-defined]
    assert service.outcomes() == {"dead": 1, "parked": 2, "processed": 1}
    service.run(bad, waits, waits_too)
    assert DeadLetter.objects.count() == 1
    assert WaitingEvent.objects.count() == 2


def test_a_dead_letter_without_a_key_parks_nothing(service: Service) -> None:
    good = notes("a", "1")[0]
    nameless = Record(good.topic, 0, 7, None, b"\xff", [], good.timestamp)
    service.run(nameless, good)
    assert service.heard() == ["1"]
    assert DeadLetter.objects.get().key is None
    assert not ParkedKey.objects.exists()


def _headers(**changes: bytes | None) -> dict[str, bytes | None]:
    return {f"ce_{name}": value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("headers", "value", "says"),
    [
        ({"ce_specversion": None}, None, "no ce_specversion"),
        (_headers(specversion=b"0.3"), None, "'0.3'"),
        (_headers(id=None), None, "no ce_id"),
        (_headers(type=None), None, "no ce_type"),
        (_headers(source=None), None, "no ce_source"),
        (_headers(type=b"a\x00b"), None, "control character"),
        (_headers(type=b"\xff\xfe"), None, "not UTF-8"),
        (_headers(time=b"yesterday"), None, "RFC 3339"),
        (_headers(time=b"2026-11-24T10:00:00"), None, "UTC offset"),
        (_headers(time=b"2999-01-01T00:00:00Z"), None, "future"),
        (_headers(time=b"0001-01-01T00:00:00+14:00"), None, "RFC 3339"),
        (_headers(id=b"ffffffff-ffff-7fff-bfff-ffffffffffff"), None, "year 9999"),
        (_headers(sequence=b"first"), None, "ce_sequence"),
        (_headers(sequence=b"0"), None, "ce_sequence"),
        (_headers(sequence=b"9" * 19), None, "ce_sequence"),
        ({}, b"", "truncated"),
        ({}, b"\x80garbage", "tests.Noted.v1"),
        ({}, b'{"text": "no key"}', "about"),
        ({}, b'{"about": 7}', "Expected `str`"),
        ({}, b"[" * 5_000, "tests.Noted.v1"),
        ({}, b'{"about": "a", "more": ' + b"[" * 100_000, "tests.Noted.v1"),
        (_headers(type=b"t" * 100_000), None, "ce_type"),
    ],
)
def test_a_bad_record_is_a_dead_letter_that_names_the_cause(
    service: Service, headers: dict[str, bytes | None], value: bytes | None, says: str
) -> None:
    bad = record_of(Noted(about="bad"), offset=3, headers=headers)
    if value is not None:
        bad = Record(bad.topic, 0, 3, bad.key, value, bad.headers, bad.timestamp)
    service.run(bad, *notes("good", "1"))
    service.run(bad)
    assert service.heard() == ["1"]
    letter = DeadLetter.objects.get()
    assert says in letter.error
    assert letter.cause in {"MalformedRecord", "ContractViolation"}
    assert ParkedKey.objects.get().key == "bad"
    assert service.outcomes() == {"dead": 1, "processed": 1}


def test_garbage_bytes_are_kept_whole(service: Service) -> None:
    headers: list[tuple[str, bytes | None]] = [("ce_id", b"\x00\xff"), ("x", None), ("x", b"2")]
    service.run(Record("notes", 2, 9, b"\x00\xff", b"\x00\xff\xfe", headers, None))
    letter = DeadLetter.objects.get()
    assert bytes(letter.raw_key or b"") == b"\x00\xff"
    assert bytes(letter.payload or b"") == b"\x00\xff\xfe"
    from outbox.item import decode_headers

    assert decode_headers(letter.headers) == headers
    assert letter.key == "\\x00\\xff"


def test_a_key_too_long_for_an_index_is_parked_like_any_other(service: Service) -> None:
    key = secrets.token_bytes(200_000)
    bad = Record("notes", 0, 1, key, b"?", [], datetime.now(UTC))
    service.run(bad, record_of(Noted(about="a", text="waits"), key=key), *notes("b", "flows"))
    assert service.heard() == ["flows"]
    assert bytes(DeadLetter.objects.get().raw_key or b"") == key
    assert WaitingEvent.objects.get().key == ParkedKey.objects.get().key


def test_a_hundred_bad_records_hold_up_nothing(service: Service) -> None:
    bad = [Record("notes", 0, offset, None, b"?", [], datetime.now(UTC)) for offset in range(100)]
    service.run(*bad, *notes("a", "1"))
    assert service.heard() == ["1"]
    assert DeadLetter.objects.count() == 100


def test_a_foreign_event_without_our_headers_is_processed_once(service: Service) -> None:
    """Another program's CloudEvent: an id that is no UUID, no number, no time."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"order/42"),
        ("ce_source", b"//elsewhere"),
        ("ce_type", b"tests.Noted.v1"),
    ]
    foreign = Record("notes", 0, 5, b"a", b'{"about":"a","text":"foreign"}', [*headers], datetime.now(UTC))
    later = datetime.now(UTC) + timedelta(seconds=1)
    again = Record("notes", 0, 6, b"a", foreign.value, [*headers], later)
    service.run(foreign)
    service.run(again)
    assert service.heard() == ["foreign"]


def test_a_gap_parks_its_key_until_the_missing_event_arrives(service: Service) -> None:
    one, two, three, four, five = notes("a", "1", "2", "3", "4", "5")
    service.run(one, three, *notes("b", "flows"))
    service.run(four)
    assert service.heard() == ["1", "flows"]
    assert ParkedKey.objects.get().cause == "gap"
    service.run(two, five)
    assert service.heard() == ["1", "flows", "2", "3", "4", "5"]
    assert not ParkedKey.objects.exists()
    assert not WaitingEvent.objects.exists()
    assert service.outcomes() == {"processed": 6}
    assert KeyProgress.objects.get(key="a").number == 5


def test_what_waited_behind_a_gap_is_judged_by_itself(service: Service) -> None:
    """The event that closes the gap is not at fault when one that it releases is refused."""
    one, two, three, four = notes("a", "1", "2", "3", "4")
    service.run(one, three, four)
    service.fails["3"] = Refused("three is bad")
    with pytest.raises(Refused) as refused:
        service.run(two)
    service.processor.condemn(refused.value, attempts=1)
    service.run(two)
    assert service.heard() == ["1", "2"]
    letter = DeadLetter.objects.get()
    assert (letter.number, letter.error) == (3, "three is bad")
    parked = ParkedKey.objects.get()
    assert (parked.cause, parked.event_id) == ("dead_letter", letter.event_id)
    assert [event.number for event in WaitingEvent.objects.all()] == [4]
    assert service.outcomes() == {"processed": 2, "dead": 1, "parked": 1}


def test_what_there_is_no_time_for_is_left_to_the_next_batch(service: Service) -> None:
    """The time is over when the batch begins: it does one event all the same, and says how far it came."""
    (known,) = notes("k", "known")
    service.run(known)
    one, two, three = notes("a", "1", "2", "3")
    ran = service.processor.run([known, one, known, one, two, three], until=0.0)
    assert (ran.done, ran.new) == (4, True)
    assert service.heard() == ["known", "1"]
    ran = service.processor.run([two, three])
    assert (ran.done, ran.is_due) == (2, False)
    assert service.heard() == ["known", "1", "2", "3"]
    assert service.outcomes() == {"processed": 4}


def test_what_waited_goes_on_in_order_when_there_was_no_time_for_it(service: Service) -> None:
    one, two, three, four, five, seven = (
        notes("a", str(number), first=number)[0] for number in (1, 2, 3, 4, 5, 7)
    )
    place = {(one.topic, one.partition)}
    plain = record_of(Noted(about="a", text="plain"), number=None, offset=9)
    service.run(one, three, four, plain)
    assert service.processor.first_due(place) is None
    assert service.processor.run([two], until=0.0).is_due
    service.run(five, seven)  # they wait behind the rest
    assert service.heard() == ["1", "2"]
    assert service.processor.first_due({(one.topic, one.partition + 1)}) is None
    for text in ("3", "4", "plain"):
        due = service.processor.first_due(place)
        assert due is not None
        assert service.processor.go_on(due, until=0.0).is_due
        assert service.heard()[-1] == text
    due = service.processor.first_due(place)
    assert due is not None
    assert not service.processor.go_on(due).is_due
    assert service.heard() == ["1", "2", "3", "4", "plain", "5"]
    assert service.processor.first_due(place) is None
    service.run(*notes("a", "6", first=6))
    assert service.heard()[-2:] == ["6", "7"]
    assert not ParkedKey.objects.exists()


def test_what_waited_where_nobody_would_look_for_it_goes_on_at_once(service: Service) -> None:
    """Its key has moved to another partition meanwhile, which another instance may read."""
    one, two, three = notes("a", "1", "2", "3")
    service.run(one, three)
    assert not service.processor.run([replace(two, partition=5)], until=0.0).is_due
    assert service.heard() == ["1", "2", "3"]


def test_what_cannot_be_numbered_is_released_with_its_key(service: Service) -> None:
    one, two, three = notes("a", "1", "2", "3")
    timeless = notes("a", "4", first=4, headers={"ce_time": None})
    plain = record_of(Noted(about="a", text="plain"), number=None, offset=9)
    service.run(one, three, *timeless, plain)
    service.run(two)
    assert service.heard() == ["1", "2", "3", "4", "plain"]
    assert not ParkedKey.objects.exists()
    assert service.outcomes() == {"processed": 5}


def test_what_would_close_a_gap_and_dies_releases_nothing(service: Service) -> None:
    one, two, three = notes("a", "1", "2", "3")
    plain = record_of(Noted(about="a", text="plain"), number=None, offset=9)
    service.run(one, three, plain)
    service.processor.condemn(Refused("no"), attempts=1, record=two)
    service.run(two)
    assert service.heard() == ["1"]
    assert ParkedKey.objects.get().cause == "dead_letter"
    assert service.outcomes() == {"processed": 1, "dead": 1, "parked": 2}


@pytest.mark.parametrize("late", [True, False])
def test_what_is_bad_behind_a_gap_becomes_its_own_dead_letter(service: Service, late: bool) -> None:
    seven, eight, nine = notes("a", "7", "8", "9", first=7)
    bad = notes("a", "6", first=6)[0] if late else Record("notes", 0, 3, b"a", b"?", [], datetime.now(UTC))
    service.run(seven, nine, bad)
    service.run(eight)
    assert service.heard() == ["7", "8", "9"]
    assert DeadLetter.objects.get().cause == ("LateEvent" if late else "MalformedRecord")
    assert ParkedKey.objects.get().cause == "dead_letter"


def test_a_gap_that_opens_and_closes_in_one_batch_leaves_no_trace(service: Service) -> None:
    one, two, three = notes("a", "1", "2", "3")
    service.run(one, three, two)
    assert service.heard() == ["1", "2", "3"]
    assert service.outcomes() == {"processed": 3}


def test_a_gap_that_closes_in_part_makes_way_for_the_next(service: Service) -> None:
    """The key is parked for that one, from now on: what was said of the first says nothing about it."""
    one, two, three, six, nine = (notes("a", str(number), first=number)[0] for number in (1, 2, 3, 6, 9))
    service.run(one, three, six, nine)
    before, long_ago = ParkedKey.objects.get(), datetime.now(UTC) - timedelta(hours=1)
    ParkedKey.objects.update(parked_at=long_ago, alarmed_at=long_ago)
    service.run(two)
    assert service.heard() == ["1", "2", "3"]
    parked = ParkedKey.objects.get()
    assert parked.id == before.id
    assert (parked.cause, parked.event_id) == ("gap", WaitingEvent.objects.get(number=6).event_id)
    assert parked.parked_at > long_ago
    assert parked.alarmed_at is None
    # One that only becomes smaller is as old as it was.
    service.run(notes("a", "4", first=4)[0])
    assert ParkedKey.objects.get().parked_at == parked.parked_at


def test_two_gaps_close_one_after_the_other(service: Service) -> None:
    one, two, three, four, five = notes("a", "1", "2", "3", "4", "5")
    service.run(one, three, five)
    service.run(two)
    assert service.heard() == ["1", "2", "3"]
    assert ParkedKey.objects.get().cause == "gap"
    service.run(four)
    assert service.heard() == ["1", "2", "3", "4", "5"]
    assert not ParkedKey.objects.exists()


def test_the_first_event_seen_of_a_key_is_its_baseline(service: Service) -> None:
    service.run(*notes("a", "7", "8", first=7))
    assert service.heard() == ["7", "8"]


def test_an_event_whose_place_has_been_passed_is_set_aside_not_guessed(service: Service) -> None:
    service.run(*notes("a", "7", first=7))
    service.run(*notes("a", "6", first=6))
    assert service.heard() == ["7"]
    assert DeadLetter.objects.get().cause == "LateEvent"


def test_keys_are_locked_in_one_order_whatever_comes_first(service: Service) -> None:
    """So that two instances whose batches overlap wait for each other and never deadlock."""
    names = [f"{number:02}" for number in range(20)]
    for name in reversed(names):
        service.run(*notes(name, "1"))
    lock = "SELECT FROM outbox_key_progress WHERE key = '{}' FOR UPDATE"
    with Writer() as instance, Writer() as third, Writer() as other:
        other.begin()
        other.execute(lock.format(names[0]))
        batch = [note for name in reversed(names) for note in notes(name, "2", first=2)]
        instance.call(lambda: Processor(service.consumer).run(batch), wait=False)
        until(somebody_waits_for_a_lock)
        third.begin()
        for name in names[1:]:
            third.execute(f"{lock.format(name)} NOWAIT")
        third.end()
        other.end()
    assert len(service.heard()) == 40


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_an_owner_that_wakes_up_with_an_old_batch_changes_nothing(service: Service) -> None:
    """Both read before either wrote: the second to commit finds the claim taken, and leaves no effect."""
    records = notes("a", "1")
    inside, go_on = threading.Event(), threading.Event()
    failures: list[BaseException] = []
    handle = service.handle

    def slow(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        inside.set()
        go_on.wait(30)

    def old_owner() -> None:
        service.consumer.routes[Noted.type] = registry.Route(Noted, slow)
        try:
            Processor(service.consumer).run(records)
        except BaseException as error:  # noqa: BLE001  (looked at below)
            failures.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=old_owner)
    thread.start()
    assert inside.wait(30)
    service.consumer.routes[Noted.type] = registry.Route(Noted, handle)
    service.run(*records)
    go_on.set()
    thread.join(30)
    assert [type(error) for error in failures] == [OverlappingConsumer]
    assert service.heard() == ["1"]
