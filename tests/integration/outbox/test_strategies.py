"""What consumers declare about errors, and the pause that one gives itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from outbox import Discard, NonRecoverable, Park, Recoverable, Retry, Wait, pausing, registry
from outbox.config import config
from outbox.consumer_models import DiscardedEvent
from outbox.errors import ContractViolation
from outbox.kafka import Record
from outbox.models import DeadLetter, InboxEntry, KeyProgress, ParkedKey
from outbox.policies import Policy
from tests.engine import new_topic, send, until
from tests.integration.outbox.listeners import Listener, instance, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

Declare = Callable[..., Listener]


class Foreign(NonRecoverable):
    """Not ours."""


class NotYetThere(NonRecoverable):
    """What this event is about has not come yet."""


class RatesAway(Recoverable):
    """The rates are away."""


@pytest.fixture
def declare() -> Iterator[Declare]:
    before = dict(registry._consumers)

    def listener(**declared: Any) -> Listener:
        return Listener(new_topic(partitions=2), **declared)

    yield listener
    registry._consumers.clear()
    registry._consumers.update(before)


def settled(listener: Listener) -> dict[str, int]:
    outcomes: dict[str, int] = {}
    for outcome in InboxEntry.objects.filter(consumer=listener.consumer.name).values_list(
        "outcome", flat=True
    ):
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def test_a_discarded_event_is_listed_and_its_key_goes_on(declare: Declare) -> None:
    listener = declare(on_error={Foreign: Discard("another shop's"), ContractViolation: Discard("too old")})
    listener.fail = lambda text: Foreign("shop 7") if text == "foreign" else None
    [broken] = notes(listener, "b", "x")
    broken = Record(broken.topic, 0, 0, b"b", b'{"about": 7}', broken.headers, broken.timestamp)
    with instance(listener):
        send(*notes(listener, "a", "1", "foreign", "3"), broken, *notes(listener, "b", "2", first=2))
        until(lambda: sum(settled(listener).values()) == 5)
    assert settled(listener) == {"processed": 3, "discarded": 2}
    assert not ParkedKey.objects.exists()
    assert not DeadLetter.objects.exists()
    assert dict(KeyProgress.objects.values_list("key", "number")) == {"a": 3, "b": 2}
    listed = DiscardedEvent.objects.order_by("key")
    assert [(one.key, one.number, one.cause, one.reason) for one in listed] == [
        ("a", 2, "Foreign", "another shop's"),
        ("b", 1, "ContractViolation", "too old"),
    ]
    assert (listed[0].error, listed[0].type, listed[0].partition, listed[0].offset) == (
        "shop 7",
        listener.event.type,
        0,
        1,
    )


def test_of_what_a_gap_releases_each_that_fails_has_its_own_end(declare: Declare) -> None:
    """One that is discarded ends no run: the next of its key may fail in the same one."""
    listener = declare(on_error={Foreign: Discard("another shop's")})
    ends = {"discarded": Foreign("shop 7"), "discarded too": Foreign("shop 8"), "dead": ValueError("broken")}
    listener.fail = lambda text: ends.get(text)
    first, closing, *waiting = notes(listener, "a", "1", "discarded", "3", "discarded too", "dead", "6")
    with instance(listener):
        send(first, *waiting)
        until(lambda: settled(listener) == {"processed": 1, "parked": 4})
        send(closing, *notes(listener, "b", "other"))
        until(lambda: settled(listener) == {"processed": 3, "discarded": 2, "dead": 1, "parked": 1})
    assert [letter.attempts for letter in DeadLetter.objects.all()] == [3]


def test_a_declared_retry_is_followed_and_then_what_it_says(declare: Declare) -> None:
    listener = declare(on_error={NotYetThere: Retry(times=5, then=Discard("never came"))})
    listener.fail = lambda text: NotYetThere() if text == "1" or listener.calls.count(text) < 4 else None
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: settled(listener) == {"discarded": 1})
        assert listener.calls.count("1") == 5
        send(*notes(listener, "b", "2"))
        until(lambda: listener.processed() == 1)
    assert listener.calls.count("2") == 4


@pytest.mark.parametrize("error", [RatesAway(), KeyError("rates")])
def test_what_is_declared_to_be_away_is_waited_for(declare: Declare, error: Exception) -> None:
    listener = declare(on_error={KeyError: Wait()})
    listener.fail = lambda _: error if len(listener.calls) < 7 else None
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: listener.processed() == 1, seconds=60)
    assert not DeadLetter.objects.exists()


@pytest.fixture
def five_keys(engine: None, settings: Settings) -> Iterator[None]:
    settings.OUTBOX = {**settings.OUTBOX, "FAILING_KEYS": 5}
    config.cache_clear()
    yield
    config.cache_clear()


@pytest.mark.usefixtures("five_keys")
def test_many_keys_that_fail_for_one_reason_pause_their_consumer(declare: Declare) -> None:
    listener = declare()
    listener.fail = lambda _: ValueError("a bad deploy")
    bad = [
        note for number in range(40) for note in notes(listener, f"key-{number}", "1", partition=number % 2)
    ]
    with instance(listener):
        send(*bad)
        until(lambda: pausing.pause_of(listener.consumer))
        pause = pausing.pause_of(listener.consumer)
        assert pause is not None
        assert pause.by == pausing.ITSELF
        assert pause.reason.startswith("5 keys failed within 1 min with one fingerprint, ")
        assert "ValueError: a bad deploy" in pause.reason
        listener.paused()  # one that ends before it notices never says that it is
    assert DeadLetter.objects.count() == 4
    calls = len(listener.calls)
    with instance(listener):
        # Started paused it stays so; resumed with the fault mended it goes on with what it paused at.
        until(lambda: len(listener.workers) == 2)
        listener.paused()
        assert len(listener.calls) == calls
        listener.fail = lambda _: None
        pausing.resume(consumer=listener.consumer, by="ops")
        until(lambda: listener.processed() == 36)
    assert DeadLetter.objects.count() == 4


@pytest.fixture
def over_soon(five_keys: None, settings: Settings) -> None:
    """As if each failure took longer than the time within which they are counted."""
    settings.OUTBOX = {**settings.OUTBOX, "FAILING_WITHIN": 0.0}
    config.cache_clear()


@pytest.mark.usefixtures("over_soon")
def test_events_that_fail_in_a_row_pause_their_consumer_however_long_it_takes(declare: Declare) -> None:
    listener = declare()
    listener.fail = lambda _: ValueError("it does not come back")
    with instance(listener):
        send(*(note for number in range(8) for note in notes(listener, f"key-{number}", "1")))
        until(lambda: pausing.pause_of(listener.consumer))
        pause = pausing.pause_of(listener.consumer)
        assert pause is not None
        assert pause.reason.startswith("5 events failed in a row with one fingerprint")
        assert DeadLetter.objects.count() == 4
        pausing.resume(consumer=listener.consumer, by="ops")
        until(lambda: DeadLetter.objects.count() == 8)  # of the four that are left it does not pause again
    assert pausing.pause_of(listener.consumer) is None


@pytest.mark.usefixtures("over_soon")
def test_one_that_goes_well_in_between_ends_the_row(declare: Declare) -> None:
    listener = declare()
    listener.fail = lambda text: ValueError("now and then") if text == "bad" else None
    with instance(listener):
        texts = [("good" if number % 4 == 3 else "bad") for number in range(24)]
        for number, text in enumerate(texts):
            send(*notes(listener, f"key-{number}", text))
        until(lambda: DeadLetter.objects.count() == 18)
    assert pausing.pause_of(listener.consumer) is None


@pytest.mark.usefixtures("five_keys")
def test_resumed_without_being_mended_it_pauses_again_after_as_many_keys(declare: Declare) -> None:
    listener = declare()
    listener.fail = lambda _: ValueError("a bad deploy")
    with instance(listener):
        send(*(note for number in range(40) for note in notes(listener, f"key-{number}", "1")))
        until(lambda: pausing.pause_of(listener.consumer))
        pausing.resume(consumer=listener.consumer, by="ops")
        until(lambda: DeadLetter.objects.count() == 8)
        until(lambda: pausing.pause_of(listener.consumer))
    assert DeadLetter.objects.count() == 8


@pytest.mark.usefixtures("five_keys")
@pytest.mark.parametrize(
    ("error", "policy"),
    [(Foreign("no"), Park()), (KeyError("declared"), Park()), (KeyError("declared"), Retry(times=1))],
)
def test_what_is_declared_or_refused_for_good_pauses_nothing(
    declare: Declare, error: Exception, policy: Policy
) -> None:
    listener = declare(on_error={KeyError: policy})
    listener.fail = lambda text: error if text == "bad" else None
    with instance(listener):
        send(*(note for number in range(12) for note in notes(listener, f"key-{number}", "bad")))
        send(*notes(listener, "good", "1"))
        until(lambda: listener.processed() == 1)
    assert DeadLetter.objects.count() == 12
    assert pausing.pause_of(listener.consumer) is None
