"""What an operator does about what was set aside: once, in order, and written down."""

import base64
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, OperationalError, connection, connections
from psycopg.errors import DeadlockDetected
from pytest_django import Settings

from outbox import Delivery, registry
from outbox.config import config
from outbox.errors import (
    CorrectionRefused,
    EarlierLetter,
    LetterSuperseded,
    NoSuchLetter,
    NoSuchParkedKey,
    NotAsShown,
    NothingSaid,
)
from outbox.kafka import Record
from outbox.models import (
    DeadLetter,
    Generation,
    InboxEntry,
    KeyProgress,
    LetterState,
    OutboxEvent,
    ParkCause,
    ParkedKey,
    WaitingEvent,
)
from outbox.processor import Processor
from outbox.repair import keys, letters, releasing
from outbox.repair.acts import Act, Operator, Report, Result, Via
from tests.engine import Noted, Writer, record_of, until
from tests.integration.at_once import at_once
from tests.integration.outbox import test_processor as processing
from tests.integration.outbox.test_processor import Refused, Service, notes, somebody_waits_for_a_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

service = processing.service
ANNA = Operator("anna", "it was the deploy", Via.COMMAND)


def deliver(service: Service, *records: Record) -> None:
    """As the worker does: what fails is dead-lettered."""
    for record in records:
        try:
            service.run(record)
        except Refused as error:
            service.processor.condemn(error, attempts=1)
            service.run(record)


def died(service: Service, *texts: str) -> DeadLetter:
    """Events of key "a" of which the first becomes a dead letter, and the others wait."""
    service.fails[texts[0]] = Refused(f"{texts[0]} is refused")
    deliver(service, *notes("a", *texts))
    return DeadLetter.objects.get()


def replay(letter: DeadLetter, operator: Operator = ANNA, **options: object) -> Report:
    return letters.replay(letter_id=letter.id, operator=operator, **options)  # type: ignore[arg-type]


def discard(letter: DeadLetter, operator: Operator = ANNA) -> Report:
    return letters.discard(letter_id=letter.id, operator=operator)


def assert_nothing_is_left(service: Service, *, processed: int) -> None:
    assert service.outcomes() == {"processed": processed}
    assert not ParkedKey.objects.exists()
    assert not WaitingEvent.objects.exists()
    assert not DeadLetter.objects.filter(state=LetterState.OPEN).exists()


def test_a_replay_runs_the_letter_and_then_what_waited_in_order(service: Service) -> None:
    letter = died(service, "1", "2", "3")
    service.fails.clear()
    report = replay(letter)
    assert (report.result, report.ran, report.waiting) == (Result.REPLAYED, 2, 0)
    assert report.detail == "It has been processed; 2 that waited ran."
    assert service.heard() == ["1", "2", "3"]
    assert_nothing_is_left(service, processed=3)
    letter.refresh_from_db()
    assert (letter.state, letter.settled_at is not None, letter.correction) == ("replayed", True, None)
    assert KeyProgress.objects.get().number == 3
    deliver(service, *notes("a", "4", first=4))
    assert service.heard() == ["1", "2", "3", "4"]


def test_what_was_replayed_is_not_replayed_again(service: Service) -> None:
    letter = died(service, "1", "2")
    service.fails.clear()
    replay(letter)
    for again in (replay(letter), discard(letter)):
        assert again.result is Result.NOTHING
        assert "it was replayed at" in again.detail
    assert service.heard() == ["1", "2"]
    results = Act.objects.order_by("id").values_list("act", "result")
    assert list(results) == [("replay", "replayed"), ("replay", "nothing"), ("discard", "nothing")]


def test_what_is_delivered_again_after_a_replay_has_no_effect(service: Service) -> None:
    letter = died(service, "1", "2")
    records = notes("a", "1", "2")
    stored = {entry.number: entry.event_id for entry in InboxEntry.objects.all()}
    again = [
        record_of(Noted(about="a", text=text), number=number, event_id=stored[number])
        for number, text in enumerate(("1", "2"), start=1)
    ]
    service.fails.clear()
    replay(letter)
    service.run(*again)
    assert service.heard() == ["1", "2"]
    assert len(records) == 2


def test_two_replays_at_once_have_one_effect(service: Service) -> None:
    letter = died(service, "1", *map(str, range(2, 30)))
    service.fails.clear()
    reports = at_once(*[lambda: replay(letter)] * 4)
    assert sorted(report.result for report in reports) == ["nothing", "nothing", "nothing", "replayed"]
    assert service.heard() == [str(number) for number in range(1, 30)]
    assert_nothing_is_left(service, processed=29)


def test_two_replays_at_once_of_a_record_without_a_key_have_one_effect(service: Service) -> None:
    service.fails["1"] = Refused("no")
    deliver(service, replace(notes("a", "1")[0], key=None))
    service.fails.clear()
    letter = DeadLetter.objects.get()
    reports = at_once(*[lambda: replay(letter)] * 4)
    assert sorted(report.result for report in reports) == ["nothing", "nothing", "nothing", "replayed"]
    assert service.heard() == ["1"]


def test_a_letter_that_fails_once_more_stays_and_tells_why(service: Service) -> None:
    letter = died(service, "1", "2")
    service.fails["1"] = Refused("still not")
    report = replay(letter)
    assert (report.result, report.ran, report.waiting) == (Result.DIED, 0, 1)
    assert report.detail == "It died again: Refused: still not; 1 still waits."
    again = DeadLetter.objects.get()
    assert (again.id, again.state, again.error, again.attempts) == (letter.id, "open", "still not", 2)
    assert again.died_at == letter.died_at
    assert Act.objects.get().at > letter.died_at
    assert service.heard() == []
    assert ParkedKey.objects.get().cause == ParkCause.DEAD_LETTER
    assert service.outcomes() == {"dead": 1, "parked": 1}
    service.fails.clear()
    replay(letter)
    assert service.heard() == ["1", "2"]


def test_what_had_been_settled_dies_anew(service: Service) -> None:
    """Its inbox row has been pruned, and its record is read again."""
    letter = died(service, "1")
    service.fails.clear()
    replay(letter)
    InboxEntry.objects.all().delete()
    service.fails["1"] = Refused("once more")
    deliver(service, record_of(Noted(about="a", text="1"), number=2, event_id=letter.event_id))
    again = DeadLetter.objects.get()
    assert (again.id, again.state, again.settled_at, again.error) == (letter.id, "open", None, "once more")
    assert again.died_at > letter.died_at


def test_an_error_that_is_no_text_can_be_written_down(service: Service) -> None:
    letter = died(service, "1")
    service.fails["1"] = Refused("a\x00b\ud800")
    report = replay(letter, Operator("an\x00na", "\ud800"))
    assert (report.result, report.error) == (Result.DIED, "Refused: a\\x00b\\ud800")
    assert Act.objects.get().who == "an\\x00na"


def test_an_unknown_error_is_tried_again_before_it_counts(service: Service) -> None:
    letter = died(service, "1")
    failures = [RuntimeError("once"), RuntimeError("twice")]
    handle = service.handle

    def shaky(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        if failures:
            raise failures.pop()

    service.fails.clear()
    service.consumer.routes[Noted.type] = registry.Route(Noted, shaky)
    assert replay(letter).result is Result.REPLAYED
    assert service.heard() == ["1"]


def test_what_keeps_the_database_away_uses_up_nothing(service: Service) -> None:
    letter = died(service, "1", "2")

    def cut(_: Delivery[Noted]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    service.consumer.routes[Noted.type] = registry.Route(Noted, cut)
    with pytest.raises(DatabaseError):
        replay(letter)
    connections.close_all()
    letter.refresh_from_db()
    assert (letter.state, letter.error, letter.attempts) == ("open", "1 is refused", 1)
    assert not Act.objects.exists()


def test_contention_that_does_not_end_uses_up_nothing_either(service: Service) -> None:
    letter = died(service, "1", "2")
    deadlock = OperationalError("deadlock detected")
    deadlock.__cause__ = DeadlockDetected()
    service.fails["1"] = deadlock
    with pytest.raises(OperationalError):
        replay(letter)
    letter.refresh_from_db()
    assert (letter.state, letter.error, letter.attempts) == ("open", "1 is refused", 1)
    assert not Act.objects.exists()


def test_a_failure_in_the_middle_of_what_waits_holds_the_rest(service: Service) -> None:
    letter = died(service, "1", "2", "3", "4", "5")
    service.fails = {"3": Refused("three is bad")}
    report = replay(letter)
    assert (report.result, report.ran, report.waiting) == (Result.REPLAYED, 1, 2)
    assert report.error == "Refused: three is bad"
    assert service.heard() == ["1", "2"]
    second = DeadLetter.objects.get(state="open")
    assert (second.number, second.attempts) == (3, 1)
    parked = ParkedKey.objects.get()
    assert (parked.cause, parked.event_id) == ("dead_letter", second.event_id)
    assert service.outcomes() == {"processed": 2, "dead": 1, "parked": 2}
    service.fails.clear()
    assert replay(second).ran == 2
    assert service.heard() == ["1", "2", "3", "4", "5"]
    assert_nothing_is_left(service, processed=5)


def test_many_that_wait_run_in_bounded_transactions(service: Service, settings: Settings) -> None:
    letter = died(service, *map(str, range(1, 26)))
    service.fails.clear()
    _batch_of(10, settings)
    report = replay(letter)
    assert (report.ran, report.waiting) == (24, 0)
    assert report.detail == "It has been processed; 24 that waited ran."
    # The letter is one of the first ten; each transaction left its act.
    assert list(Act.objects.order_by("id").values_list("ran", "waiting")) == [(9, 15), (10, 5), (5, 0)]
    assert service.heard() == [str(number) for number in range(1, 26)]
    assert_nothing_is_left(service, processed=25)


def test_a_transaction_of_an_act_begins_no_further_event_when_its_time_is_over(
    service: Service, settings: Settings
) -> None:
    letter = died(service, *map(str, range(1, 5)))
    service.fails.clear()
    settings.OUTBOX = {**settings.OUTBOX, "BATCH_SECONDS": 0.0}
    config.cache_clear()
    report = replay(letter)
    assert (report.ran, report.waiting) == (3, 0)
    assert list(Act.objects.order_by("id").values_list("ran", "waiting")) == [(0, 3), (1, 2), (1, 1), (1, 0)]
    assert_nothing_is_left(service, processed=4)


def test_a_replay_that_says_no_reason_goes_on_as_well(service: Service, settings: Settings) -> None:
    letter = died(service, *map(str, range(1, 6)))
    service.fails.clear()
    _batch_of(2, settings)
    report = replay(letter, Operator("anna"))
    assert (report.ran, report.waiting) == (4, 0)
    assert_nothing_is_left(service, processed=5)
    acts = list(Act.objects.order_by("id").values_list("who", "act", "why"))
    assert acts == [("anna", "replay", ""), *[("anna", "release", "going on with what waited")] * 2]


def test_a_release_that_was_cut_short_is_gone_on_with(service: Service, settings: Settings) -> None:
    letter = died(service, *map(str, range(1, 8)))
    service.fails.clear()
    _batch_of(3, settings)
    report = replay(letter, to_the_end=False)
    assert (report.ran, report.waiting) == (2, 4)
    assert ParkedKey.objects.get().cause == ParkCause.RELEASED
    # What comes meanwhile waits behind the rest.
    deliver(service, *notes("a", "8", first=8))
    assert service.heard() == ["1", "2", "3"]
    assert releasing.go_on_with_all() == 5
    assert service.heard() == [str(number) for number in range(1, 9)]
    assert_nothing_is_left(service, processed=8)


def test_a_replay_repeated_goes_on_with_what_was_cut_short(service: Service, settings: Settings) -> None:
    letter = died(service, *map(str, range(1, 6)))
    service.fails.clear()
    _batch_of(2, settings)
    replay(letter, to_the_end=False)
    report = replay(letter)
    assert (report.result, report.ran, report.waiting) == (Result.NOTHING, 3, 0)
    assert service.heard() == ["1", "2", "3", "4", "5"]


def _batch_of(records: int, settings: Settings) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "CONSUMER_BATCH": records}
    config.cache_clear()


def test_what_arrives_during_a_release_is_neither_lost_nor_out_of_order(
    service: Service, settings: Settings
) -> None:
    """A consumer delivers on while several operators release the key, in transactions of three events."""
    letter = died(service, *map(str, range(1, 20)))
    service.fails.clear()
    _batch_of(3, settings)
    last = 120

    def consume() -> None:
        processor = Processor(service.consumer)
        for number in range(20, last + 1):
            processor.run(notes("a", str(number), first=number))

    outcomes = at_once(consume, *[lambda: replay(letter)] * 3)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert releasing.go_on_with_all() >= 0
    assert service.heard() == [str(number) for number in range(1, last + 1)]
    assert_nothing_is_left(service, processed=last)


@pytest.mark.parametrize("numbered", [True, False])
def test_an_event_that_arrives_within_a_release_waits_for_its_end(service: Service, numbered: bool) -> None:
    """Also of a foreign key, whose events have no numbers: there the parked key alone keeps both apart."""
    service.fails["1"] = Refused("no")
    records = [
        record_of(Noted(about="a", text=str(number)), number=number if numbered else None, offset=number)
        for number in (1, 2, 3)
    ]
    deliver(service, *records[:2])
    service.fails.clear()
    _release_while_it_arrives(service, records[2])
    assert service.heard() == ["1", "2", "3"]
    assert_nothing_is_left(service, processed=3)


def test_a_gap_is_noticed_in_what_arrives_within_the_release_of_a_keys_first_event(service: Service) -> None:
    died(service, "1", "2")
    service.fails.clear()
    _release_while_it_arrives(service, notes("a", "4", first=4)[0])
    assert service.heard() == ["1", "2"]
    assert ParkedKey.objects.get().cause == ParkCause.GAP
    deliver(service, *notes("a", "3", first=3))
    assert service.heard() == ["1", "2", "3", "4"]


def _release_while_it_arrives(service: Service, arriving: Record) -> None:
    """The worker comes to the event when the release has run what waits, and has yet to commit."""
    inside, go_on = threading.Event(), threading.Event()
    handle = service.handle

    def slow(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        if delivery.event.text == "2":
            inside.set()
            assert go_on.wait(30)

    service.consumer.routes[Noted.type] = registry.Route(Noted, slow)
    letter = DeadLetter.objects.get()
    with Writer() as operator, Writer() as worker:
        operator.call(lambda: replay(letter), wait=False)
        assert inside.wait(30)
        worker.call(lambda: Processor(service.consumer).run([arriving]), wait=False)
        until(somebody_waits_for_a_lock)
        go_on.set()


def test_corrected_data_is_checked_kept_beside_the_original_and_processed(service: Service) -> None:
    bad = replace(notes("a", "1")[0], value=b'{"about": 7}')
    deliver(service, bad, *notes("a", "2", first=2))
    letter = DeadLetter.objects.get()
    for data, says in (
        (b'{"about": "a", "text": 7}', "Expected `str`"),
        (b"{", "truncated"),
        (b"", "truncated"),
    ):
        with pytest.raises(CorrectionRefused, match=says):
            replay(letter, data=data)
    assert not Act.objects.exists()
    corrected = b'{"about": "a", "text": "one"}'
    assert replay(letter, data=corrected).result is Result.REPLAYED
    assert service.heard() == ["one", "2"]
    letter.refresh_from_db()
    assert bytes(letter.payload or b"") == b'{"about": 7}'
    assert bytes(letter.correction or b"") == corrected
    assert bytes(Act.objects.get().correction or b"") == corrected
    assert_nothing_is_left(service, processed=2)


def test_a_correction_that_the_domain_refuses_is_not_taken(service: Service) -> None:
    letter = died(service, "1")
    service.fails["other"] = Refused("not that either")
    report = replay(letter, data=b'{"about": "a", "text": "other"}')
    assert report.error == "Refused: not that either"
    letter.refresh_from_db()
    assert (letter.correction, letter.error) == (None, "not that either")
    assert Noted.from_json(bytes(letter.payload or b"")) == Noted(about="a", text="1")


def test_what_cannot_be_read_can_be_discarded_alone(service: Service) -> None:
    garbage = Record("notes", 0, 1, b"a", b"?", [("ce_id", b"\xff")], datetime.now(UTC))
    deliver(service, garbage, *notes("a", "1", "2"))
    letter = DeadLetter.objects.get()
    with pytest.raises(CorrectionRefused, match="No data can help"):
        replay(letter, data=b"{}")
    assert replay(letter).result is Result.DIED
    report = discard(letter)
    assert (report.result, report.ran) == (Result.DISCARDED, 2)
    assert service.heard() == ["1", "2"]
    assert service.outcomes() == {"discarded": 1, "processed": 2}
    letter.refresh_from_db()
    assert letter.state == "discarded"


def test_a_record_without_a_key_is_discarded_by_itself(service: Service) -> None:
    deliver(service, Record("notes", 0, 1, None, b"?", [], datetime.now(UTC)))
    assert discard(DeadLetter.objects.get()).detail == "It is discarded."
    assert service.outcomes() == {"discarded": 1}


def test_an_unreadable_event_that_is_discarded_leaves_no_gap(service: Service) -> None:
    one, three = notes("a", "1")[0], notes("a", "3", first=3)[0]
    two = notes("a", "2", first=2, headers={"ce_time": b"yesterday"})[0]
    deliver(service, one, two, three)
    assert discard(DeadLetter.objects.get()).ran == 1
    assert service.heard() == ["1", "3"]
    assert not ParkedKey.objects.exists()


def test_an_unreadable_event_that_is_discarded_gives_up_no_number_but_its_own(service: Service) -> None:
    one, two = notes("a", "1", "2")
    odd = {"ce_time": b"yesterday", "ce_sequence": b"9000000000000000000"}
    deliver(service, one, *notes("a", "odd", headers=odd), two)
    assert discard(DeadLetter.objects.get()).ran == 1
    assert service.heard() == ["1", "2"]
    assert KeyProgress.objects.get().number == 2


def test_a_discard_says_why_and_lets_the_key_go_on(service: Service) -> None:
    letter = died(service, "1", "2", "3")
    for reason in ("", "  "):
        with pytest.raises(NothingSaid):
            discard(letter, Operator("anna", reason))
    report = discard(letter)
    assert (report.result, report.ran) == (Result.DISCARDED, 2)
    assert service.heard() == ["2", "3"]
    assert service.outcomes() == {"discarded": 1, "processed": 2}
    assert discard(letter).result is Result.NOTHING
    assert replay(letter).result is Result.NOTHING
    assert service.heard() == ["2", "3"]
    deliver(service, *notes("a", "4", first=4))
    assert service.heard() == ["2", "3", "4"]


def test_a_key_parked_by_a_gap_is_released_without_what_is_missing(service: Service) -> None:
    one, three, four, seven = (notes("a", str(number), first=number)[0] for number in (1, 3, 4, 7))
    deliver(service, one, three, four, seven)
    parked = ParkedKey.objects.get()
    with pytest.raises(NothingSaid):
        keys.release(parked_id=parked.id, operator=Operator("anna"))
    report = keys.release(parked_id=parked.id, operator=ANNA)
    assert report.detail == "It is released without number 2; 2 that waited ran; 1 still waits."
    assert service.heard() == ["1", "3", "4"]
    assert ParkedKey.objects.get().cause == ParkCause.GAP
    assert keys.release(parked_id=parked.id, operator=ANNA).done == "It is released without numbers 5 to 6"
    assert service.heard() == ["1", "3", "4", "7"]
    with pytest.raises(NoSuchParkedKey):
        keys.release(parked_id=parked.id, operator=ANNA)
    # What was given up is set aside when it comes after all, and never guessed.
    deliver(service, *notes("a", "2", first=2))
    assert DeadLetter.objects.get().cause == "LateEvent"
    assert [act.result for act in Act.objects.order_by("id")] == ["released", "released"]


def test_no_other_numbers_are_given_up_than_were_shown(service: Service) -> None:
    """The gap of which the operator was told has closed, and another one is there, in the same row."""
    one, two, three, six = (notes("a", str(number), first=number)[0] for number in (1, 2, 3, 6))
    deliver(service, one, three, six)
    parked = ParkedKey.objects.get()
    deliver(service, two)
    assert ParkedKey.objects.get().id == parked.id
    with pytest.raises(NotAsShown, match="numbers 4 to 5 by now, and number 2 was shown"):
        keys.release(parked_id=parked.id, operator=ANNA, shown=range(2, 3))
    with pytest.raises(NotAsShown, match="numbers 4 to 5 by now, and nothing was shown"):
        keys.release(parked_id=parked.id, operator=ANNA, shown=range(0))
    assert service.heard() == ["1", "2", "3"]
    assert not Act.objects.exists()
    report = keys.release(parked_id=parked.id, operator=ANNA, shown=range(4, 6))
    assert report.done == "It is released without numbers 4 to 5"
    assert service.heard() == ["1", "2", "3", "6"]


def test_of_two_who_were_shown_the_same_letter_one_acts(service: Service) -> None:
    """It dies again, and is open as before: the other's form was of the letter before that."""
    letter = died(service, "1", "2")
    shown = letters.mark(letter)

    def act() -> Report | NotAsShown:
        try:
            return letters.replay(letter_id=letter.id, operator=ANNA, shown=shown)
        except NotAsShown as refusal:
            return refusal

    told = at_once(act, act)
    assert sorted(type(one).__name__ for one in told) == ["NotAsShown", "Report"]
    assert Act.objects.count() == 1
    letter.refresh_from_db()
    with pytest.raises(NotAsShown):
        letters.discard(letter_id=letter.id, operator=ANNA, shown=shown)
    assert letters.discard(letter_id=letter.id, operator=ANNA, shown=letters.mark(letter)).ran == 1


def test_after_a_release_the_next_gap_is_as_old_as_it_is(service: Service) -> None:
    deliver(service, *(notes("a", str(number), first=number)[0] for number in (1, 3, 6)))
    parked, long_ago = ParkedKey.objects.get(), datetime.now(UTC) - timedelta(hours=1)
    ParkedKey.objects.update(parked_at=long_ago, alarmed_at=long_ago)
    keys.release(parked_id=parked.id, operator=ANNA)
    parked = ParkedKey.objects.get()
    assert parked.event_id == WaitingEvent.objects.get(number=6).event_id
    assert parked.parked_at > long_ago
    assert parked.alarmed_at is None


def test_a_late_event_is_run_out_of_its_order_only_when_told_to(service: Service) -> None:
    deliver(service, *notes("a", "7", first=7), *notes("a", "6", first=6), *notes("a", "8", first=8))
    letter = DeadLetter.objects.get()
    assert replay(letter).result is Result.DIED
    assert replay(letter, late=True).ran == 1
    assert service.heard() == ["7", "6", "8"]
    assert KeyProgress.objects.get().number == 8


def test_a_key_held_by_a_dead_letter_is_not_released(service: Service) -> None:
    letter = died(service, "1", "2")
    with pytest.raises(EarlierLetter, match=str(letter.id)):
        keys.release(parked_id=ParkedKey.objects.get().id, operator=ANNA)
    assert service.heard() == []


def test_a_letter_of_a_retired_generation_is_left_alone(service: Service) -> None:
    letter = died(service, "1", "2")
    DeadLetter.objects.update(generation=7)
    service.fails.clear()
    for act in (replay, discard):
        with pytest.raises(LetterSuperseded, match="generation 7"):
            act(letter)
    assert service.heard() == []
    assert not Generation.objects.exists()


def test_a_letter_that_is_not_there_is_said_not_to_be(service: Service) -> None:
    with pytest.raises(NoSuchLetter):
        letters.replay(letter_id=uuid4(), operator=ANNA)


def test_what_a_replayed_event_publishes_commits_with_its_effect(service: Service) -> None:
    letter = died(service, "1", "2")
    service.answers = {"1", "2"}
    service.fails = {"2": Refused("no")}
    replay(letter)
    (event,) = OutboxEvent.objects.all()
    assert event.causation_id == letter.event_id


def test_every_act_is_written_down_and_stays(service: Service) -> None:
    letter = died(service, "1", "2", "3")
    service.fails = {"3": Refused("three is bad")}
    replay(letter)
    act = Act.objects.get()
    assert (act.who, act.why, act.via, act.act) == ("anna", "it was the deploy", "command", "replay")
    assert (act.consumer, act.letter_id, act.event_id) == (service.consumer.name, letter.id, letter.event_id)
    assert (act.topic, act.key, act.generation) == ("notes", "a", 1)
    assert (act.result, act.error, act.ran, act.waiting) == ("replayed", "Refused: three is bad", 1, 0)
    for statement in ("UPDATE outbox_act SET who = 'nobody'", "DELETE FROM outbox_act"):
        with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
            cursor.execute(statement)
    with pytest.raises(NothingSaid):
        Operator(" ")


def test_an_event_that_dies_again_after_its_inbox_row_was_pruned_is_set_aside_again(service: Service) -> None:
    letter = died(service, "1")
    service.fails.clear()
    replay(letter)
    again = record_of(Noted(about="a", text="1"), number=1, event_id=letter.event_id)
    InboxEntry.objects.all().delete()
    deliver(service, again)
    letter.refresh_from_db()
    assert (letter.state, letter.cause, letter.settled_at) == ("open", "LateEvent", None)
    assert service.heard() == ["1"]


def test_an_event_that_was_too_early_to_be_read_is_processed_under_its_own_id(service: Service) -> None:
    record = notes("a", "1")[0]
    own_id = UUID((dict(record.headers)["ce_id"] or b"").decode())
    stated = dict(record.headers)["ce_time"]
    ahead = [(n, b"2999-01-01T00:00:00Z" if n == "ce_time" else value) for n, value in record.headers]
    deliver(service, replace(record, headers=ahead))
    letter = DeadLetter.objects.get()
    assert letter.event_id != own_id
    headers = [[n, v] if n != "ce_time" else [n, _base64(stated or b"")] for n, v in letter.headers]
    DeadLetter.objects.update(headers=headers)  # as if the time had come
    replay(letter)
    service.run(record)
    assert service.heard() == ["1"]
    assert_nothing_is_left(service, processed=2)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
