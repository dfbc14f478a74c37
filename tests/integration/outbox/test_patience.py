"""Asking a database that hangs: whoever asks goes on without it, and is answered when it goes on."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from django.db import transaction
from django.test import Client

from devstack.stack import Stack
from outbox import health, system_metrics
from outbox.models import TopicRecord
from outbox.patience import Patient
from outbox.system_metrics import System
from tests.engine import until
from tests.integration.eventsite.test_turns import locked

pytestmark = pytest.mark.django_db(transaction=True)
NOBODY_READS_ON = "LOCK TABLE outbox_consumer_member IN ACCESS EXCLUSIVE MODE"


class Hanging:
    """Gives no answer until it is let, and then how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = threading.Event()

    def __call__(self) -> int:
        self.asked += 1
        assert self.let.wait(60)
        return self.asked


def answer_of(patient: Patient[int]) -> int | None:
    with suppress(TimeoutError):
        return patient.answer()
    return None


def test_who_hangs_is_asked_once_and_answers_in_the_end() -> None:
    hanging = Hanging()
    patient = Patient(hanging, seconds=0.2, name="test")
    assert [answer_of(patient) for _ in range(3)] == [None, None, None]
    assert hanging.asked == 1
    hanging.let.set()
    # What was asked then is an answer of then: it is asked anew.
    until(lambda: answer_of(patient) == 2)
    assert answer_of(patient) == 3


def test_what_asking_raises_is_raised() -> None:
    def fail() -> int:
        raise ValueError("bad")

    patient = Patient(fail, seconds=30, name="test")
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            patient.answer()


def test_inside_a_transaction_what_it_has_written_is_seen() -> None:
    patient = Patient(TopicRecord.objects.filter(name="written").count, seconds=30, name="test")
    with transaction.atomic():
        TopicRecord.objects.create(name="written", partitions=1, applied_at=datetime.now(UTC))
        assert patient.answer() == 1
        transaction.set_rollback(True)
    assert patient.answer() == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(health, "DATABASE_TIMEOUT", 0.5)
    monkeypatch.setattr(system_metrics, "HANGS_SECONDS", 0.5)
    health._patient.cache_clear()
    yield
    health._patient.cache_clear()


def test_readiness_tells_of_a_database_that_hangs_and_of_the_rest(
    impatient: None, client: Client, stack: Stack
) -> None:
    with locked(stack, NOBODY_READS_ON):
        for _ in range(2):
            answer = client.get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (503, "unready")
            parts = answer.json()["parts"]
            assert parts["database"] == {"ok": False, "detail": "The database does not answer."}
            assert set(parts) == {"database", "kafka"}
    until(lambda: client.get("/readyz").json()["parts"]["database"]["ok"])


def test_metrics_tell_of_a_database_that_hangs(impatient: None, stack: Stack) -> None:
    system = System()

    def up() -> float:
        system.forget()
        [value] = [one.value for one in system.samples() if one.name == "outbox_database_up"]
        return value

    with locked(stack, NOBODY_READS_ON):
        assert up() == 0
    until(lambda: up() == 1)
