"""A handler that does not come back is interrupted, and only it. What cannot be: see test_suspects.py."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connection

from outbox import Consumer, Delivery, Discard, handles, handles_batch, registry
from outbox.errors import ConsumerMisdeclared, HandlerTimedOut
from outbox.models import DeadLetter, InboxEntry, WaitingEvent
from outbox.registry import Route
from outbox.repair import letters
from outbox.repair.acts import Operator, Report, Result
from tests.engine import Noted, new_topic, send, until
from tests.integration.outbox.listeners import Listener, instance, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

LIMIT = timedelta(seconds=0.5)


@pytest.fixture(autouse=True)
def _time_to_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not interrupted in time is ended with its process, which here is that of all tests."""
    monkeypatch.setattr("outbox.watchdog.grace", lambda _: 60.0)


@pytest.fixture
def listener() -> Iterator[Listener]:
    before = dict(registry._consumers)
    yield Listener(new_topic(partitions=2), on_error={KeyError: Discard("not reached")})
    registry._consumers.clear()
    registry._consumers.update(before)


def _waits_for_the_database() -> None:
    with connection.cursor() as sql:
        sql.execute("SELECT pg_sleep(3600)")


def _goes_round_in_circles() -> None:
    while True:
        pass


def _catches_everything() -> None:
    while True:
        try:
            _waits_for_the_database()
        except Exception:  # noqa: BLE001
            continue


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("hang", [_waits_for_the_database, _goes_round_in_circles, _catches_everything])
def test_what_hangs_is_interrupted_and_set_aside_and_others_flow(
    listener: Listener, hang: Callable[[], None], batched: bool
) -> None:
    handle = listener.handle

    def one(delivery: Delivery[Noted]) -> None:
        handle(delivery)
        if delivery.event.text == "hangs":
            hang()

    def many(deliveries: list[Delivery[Noted]]) -> None:
        for delivery in deliveries:
            one(delivery)

    route = Route(listener.event, many if batched else one, batched, LIMIT)
    listener.consumer.routes[listener.event.type] = route
    with instance(listener):
        send(*notes(listener, "a", "hangs", "waits"), *notes(listener, "b", "1", "2"))
        until(lambda: InboxEntry.objects.count() == 4, seconds=60)
        send(*notes(listener, "b", "3", first=3))
        until(lambda: listener.processed() == 3)
    letter = DeadLetter.objects.get()
    assert (letter.cause, letter.attempts, letter.key) == ("HandlerTimedOut", 3, "a")
    assert "did not end within 0.5 s" in letter.error


@pytest.mark.parametrize("hang", [_waits_for_the_database, _goes_round_in_circles])
def test_what_hangs_in_a_replay_is_interrupted_as_well_and_keeps_nobody_from_its_key(
    listener: Listener, hang: Callable[[], None]
) -> None:
    route = Route(listener.event, lambda _: hang(), limit=LIMIT)
    listener.consumer.routes[listener.event.type] = route
    with instance(listener):
        send(*notes(listener, "a", "hangs"))
        until(DeadLetter.objects.exists, seconds=60)
        reports: list[Report] = []

        def replay() -> None:
            letter = DeadLetter.objects.get()
            reports.append(letters.replay(letter_id=letter.id, operator=Operator("anna", "tried again")))
            connection.close()

        threading.Thread(target=replay, daemon=True).start()
        until(lambda: reports, seconds=60)
        send(*notes(listener, "a", "waits", first=2))
        until(WaitingEvent.objects.exists)
    assert [report.result for report in reports] == [Result.DIED]
    assert "did not end within 0.5 s" in reports[0].error
    assert DeadLetter.objects.get().attempts == 4


def test_a_policy_may_say_what_becomes_of_it(listener: Listener) -> None:
    listener.consumer.on_error = {HandlerTimedOut: Discard("too slow to matter")}
    listener.consumer.routes[listener.event.type] = Route(
        listener.event, lambda _: _goes_round_in_circles(), limit=LIMIT
    )
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: InboxEntry.objects.filter(outcome="discarded").exists())


def test_a_limit_is_declared_with_the_handler() -> None:
    before = dict(registry._consumers)
    try:
        consumer = Consumer(name="limited", sync_delay_limit=timedelta(seconds=1))
        handles(consumer, Noted, limit=timedelta(minutes=2))(lambda _: None)
        assert consumer.routes[Noted.type].limit == timedelta(minutes=2)
        other = Consumer(name="other", sync_delay_limit=timedelta(seconds=1))
        handles_batch(other, Noted, limit=timedelta(minutes=3))(lambda _: None)
        assert other.routes[Noted.type].limit == timedelta(minutes=3)
        with pytest.raises(ConsumerMisdeclared, match="a limit is longer than nothing"):
            handles(Consumer(name="wrong", sync_delay_limit=timedelta(seconds=1)), Noted, limit=timedelta(0))(
                lambda _: None
            )
    finally:
        registry._consumers.clear()
        registry._consumers.update(before)


_TRACED = """
import sys
import django
django.setup()
from outbox.errors import HandlerTimedOut
from outbox.watchdog import Watchdog
with Watchdog(using="default") as watchdog:
    with watchdog.limit(60, what="one that ends"):
        pass
    try:
        with watchdog.limit({limit}, what="one that may hang"):
            while {limit} < 1:
                pass
    except HandlerTimedOut:
        print("interrupted")
sys.settrace(lambda *_: None)
(lambda: print("and traced"))()
"""


@pytest.mark.parametrize(("limit", "says"), [("60", "and traced"), ("0.01", "interrupted and traced")])
def test_a_process_with_watched_handlers_can_be_traced(limit: str, says: str) -> None:
    """As by a debugger: CPython stands still when an interruption was withdrawn before."""
    ran = subprocess.run(
        [sys.executable, "-c", _TRACED.format(limit=limit)], capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.split() == says.split(), ran.stderr
