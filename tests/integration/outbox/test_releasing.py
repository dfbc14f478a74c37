"""What workers do about released keys, when what waits there kills them, fails, or lets them wait."""

import threading
import time
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F

from outbox import Delivery, Recoverable, clock, in_hand
from outbox.models import DeadLetter, LetterState, ParkedKey
from outbox.registry import Route
from outbox.repair import letters, releasing
from outbox.repair.acts import Operator, Via
from outbox.suspects import DEATHS
from tests.engine import Noted, until
from tests.integration.at_once import at_once
from tests.integration.outbox import test_processor as processing
from tests.integration.outbox.test_processor import Service
from tests.integration.outbox.test_repair_jobs import died

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

service = processing.service
ANNA = Operator("anna", "it was the deploy", Via.DASHBOARD)


class Workers:
    """Processes that come one after the other: what kills one is met by the next, after a while."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch, *, deadly: str = "") -> None:
        self._patch = monkeypatch
        self._handle = service.handle
        self.deadly, self.deaths, self.came = deadly, 0, 0
        service.consumer.routes[Noted.type] = Route(Noted, self._kill)

    def _kill(self, delivery: Delivery[Noted]) -> None:
        if delivery.event.text == self.deadly:
            self.deaths += 1
            raise SystemExit  # of the worker's process nothing is left to tell of it
        self._handle(delivery)

    def another(self) -> int | None:
        """How many events ran, or that it died."""
        self.came += 1
        self._patch.setattr("outbox.in_hand.me", lambda: f"worker-{self.came}")
        with suppress(SystemExit):
            return releasing.go_on_with_all()
        return None

    @staticmethod
    def later() -> None:
        ParkedKey.objects.update(in_hand_at=F("in_hand_at") - timedelta(minutes=1))


def released(letter: DeadLetter) -> ParkedKey:
    """Its key, once the letter is discarded and what waits behind it is left to workers."""
    letters.discard(letter_id=letter.id, operator=ANNA, alone=True)
    return ParkedKey.objects.get(key=letter.key)


def test_what_waits_and_kills_its_workers_is_set_aside_at_its_third_death(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = died(service, "a", "b", waiting=5)
    service.fails.clear()
    workers = Workers(service, monkeypatch, deadly="a2")
    assert released(first).cause == "released"
    assert service.heard() == []
    released(second)
    assert workers.another() is None
    assert service.heard() == []
    assert workers.another() == 5  # while a's mark is fresh, somebody may have just begun with it
    assert service.heard() == ["b0", "b1", "b2", "b3", "b4"]
    while DeadLetter.objects.filter(state=LetterState.OPEN).count() == 0:
        workers.later()
        workers.another()
        assert workers.came < 20
    assert workers.deaths == DEATHS
    letter = DeadLetter.objects.get(state=LetterState.OPEN)
    assert (letter.key, letter.cause, letter.attempts) == ("a", "ProcessDied", DEATHS)
    key = ParkedKey.objects.get()
    assert (key.cause, key.event_id) == ("dead_letter", letter.event_id)
    letters.discard(letter_id=letter.id, operator=ANNA)
    assert service.heard()[5:] == ["a0", "a1", "a3", "a4"]
    assert not ParkedKey.objects.exists()


def test_a_key_that_may_kill_its_worker_comes_after_those_of_all_consumers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Service()
    [first] = died(service, "a", waiting=1)
    [_, second] = died(other, "b", waiting=1)
    service.fails.clear()
    other.fails.clear()
    released(first)
    released(second)
    ParkedKey.objects.filter(key="a").update(suspects=5)
    ParkedKey.objects.filter(key="b").update(in_hand_at=clock.now())
    workers = Workers(service, monkeypatch, deadly="a0")
    assert workers.another() is None
    assert other.heard() == ["b0"]


def test_a_key_that_cannot_go_on_keeps_no_other_waiting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = died(service, "a", "b", waiting=2)
    service.fails.clear()
    released(first)
    released(second)
    service.fails["a0"] = Recoverable("what it needs is away")
    workers = Workers(service, monkeypatch)
    for _ in range(DEATHS + 1):
        workers.another()
        key = ParkedKey.objects.get(key="a")
        assert (key.in_hand, key.in_hand_by, key.deaths) == (key.event_id, "", 0)
        workers.later()
    assert service.heard() == ["b0", "b1"]
    service.fails.clear()
    assert workers.another() == 2
    assert service.heard()[2:] == ["a0", "a1"]


@pytest.mark.parametrize("error", [Recoverable("away"), ValueError("no")])
def test_who_is_at_it_for_long_is_not_taken_for_dead(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(in_hand, "FRESH", timedelta(seconds=0.5))
    (letter,) = died(service, "a", waiting=2)
    service.fails.clear()
    released(letter)
    handle, tries = service.handle, list[str]()

    def fail(delivery: Delivery[Noted]) -> None:
        tries.append(delivery.event.text)
        time.sleep(1.0)  # longer than a mark is fresh
        if len(tries) < 4:
            raise error
        handle(delivery)

    service.consumer.routes[Noted.type] = Route(Noted, fail)
    done = threading.Event()

    def another() -> None:
        while not done.is_set():
            releasing.go_on_with_all()

    def until_it_is_over() -> None:
        try:
            until(lambda: not ParkedKey.objects.exclude(cause="dead_letter").exists())
        finally:
            done.set()
            connection.close()

    at_once(until_it_is_over, *[another] * 4)
    assert not DeadLetter.objects.filter(cause="ProcessDied").exists()
    assert not ParkedKey.objects.filter(suspects__gt=0).exists()


def test_a_key_that_another_one_has_is_passed(service: Service) -> None:
    first, second = died(service, "a", "b", waiting=1)
    service.fails.clear()
    key = released(first)
    released(second)
    begun, over = threading.Event(), threading.Event()

    def has_it() -> None:
        with transaction.atomic():
            assert releasing._is_mine(service.consumer, key)
            begun.set()
            over.wait(60)
        connection.close()

    def works() -> int:
        begun.wait(60)
        try:
            return releasing.go_on_with_all()
        finally:
            over.set()
            connection.close()

    assert at_once(has_it, works)[1] == 1
    assert service.heard() == ["b0"]


def test_a_letter_with_a_deadly_one_behind_it_is_acted_on_without_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = died(service, "a", waiting=2)
    service.fails.clear()
    Workers(service, monkeypatch, deadly="a0")
    with pytest.raises(SystemExit):
        letters.replay(letter_id=letter.id, operator=ANNA)
    assert service.heard() == []
    report = letters.replay(letter_id=letter.id, operator=ANNA, alone=True)
    assert (report.result, report.ran, report.waiting) == ("replayed", 0, 2)
    assert service.heard() == ["a"]
    assert ParkedKey.objects.get().cause == "released"
