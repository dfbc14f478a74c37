"""What workers do about released keys, when what waits there kills them, fails, or lets them wait."""

from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models import F

from outbox import Delivery
from outbox.models import DeadLetter, LetterState, ParkedKey
from outbox.registry import Route
from outbox.repair import letters, releasing
from outbox.repair.acts import Operator, Via
from outbox.suspects import DEATHS
from tests.engine import Noted
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
    workers.later()
    assert workers.another() is None  # what waits is run one by one now
    assert service.heard() == ["a0", "a1"]
    assert workers.another() == 5  # while the mark is fresh, somebody may have just begun with it
    assert service.heard()[2:] == ["b0", "b1", "b2", "b3", "b4"]
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
    assert service.heard()[7:] == ["a3", "a4"]
    assert not ParkedKey.objects.exists()


def test_a_key_that_may_kill_its_worker_comes_after_all_others(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = died(service, "a", "b", waiting=1)
    service.fails.clear()
    workers = Workers(service, monkeypatch, deadly="a0")
    released(first)
    released(second)
    for _ in range(2):  # that something died is seen by the next one, and meant for the one after
        assert workers.another() is None
        assert service.heard() == []
        workers.later()
    assert workers.another() is None
    assert service.heard() == ["b0"]


def test_a_worker_that_comes_away_alive_is_no_death(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    (letter,) = died(service, "a", waiting=2)
    key = released(letter)
    service.fails["a0"] = OperationalError("the database is away")
    workers = Workers(service, monkeypatch)
    for _ in range(DEATHS + 1):
        with pytest.raises(OperationalError):
            workers.another()
        key.refresh_from_db()
        assert (key.in_hand, key.in_hand_by, key.deaths) == (key.event_id, "", 0)
        workers.later()
    service.fails.clear()
    assert workers.another() == 2
    assert service.heard() == ["a0", "a1"]


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
