"""A paused consumer processes nothing, stays in its group, and goes on where it was."""

import time
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings

from outbox import pausing
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.errors import NothingSaid
from outbox.ids import new_id
from outbox.models import DeadLetter
from outbox.repair.acts import Via, acts_of
from tests.engine import send, until
from tests.integration.at_once import at_once
from tests.integration.outbox.listeners import Listener, instance, members, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("consumers", *arguments, stdout=out)
    return out.getvalue()


def test_paused_it_stays_a_member_and_processes_nothing_until_resumed(listener: Listener) -> None:
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: listener.processed() == 1)
        assert "paused" in said("pause", listener.consumer.name, "--reason", "a look at the data")
        listener.paused()
        send(*notes(listener, "a", "2", "3", first=2), *notes(listener, "b", "4", partition=1))
        with instance(listener):  # one that is started meanwhile is paused, too
            until(lambda: len(members(listener)) == 2)
            listener.paused()
            assert listener.calls == ["1"]
            assert "a look at the data" in said("list")
            assert "goes on" in said("resume", listener.consumer.name)
            until(lambda: listener.processed() == 4)
    assert [call for call in listener.calls if call != "4"] == ["1", "2", "3"]


def test_it_can_be_paused_in_the_middle_of_a_wait(listener: Listener) -> None:
    listener.fail = lambda _: OperationalError("away")
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: len(listener.calls) > 2)
        pausing.pause(consumer=listener.consumer, by="ops")
        listener.paused()
        listener.fail = lambda _: None
        calls = len(listener.calls)
        listener.paused()
        assert len(listener.calls) == calls
        pausing.resume(consumer=listener.consumer, by="ops")
        until(lambda: listener.processed() == 1)


def test_paused_it_fetches_nothing_further_however_much_there_is(
    listener: Listener, settings: Settings
) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "CONSUMER_BATCH": 5}
    config.cache_clear()
    pausing.pause(consumer=listener.consumer, by="ops")
    texts = [str(number) for number in range(200)]
    with instance(listener):
        until(lambda: listener.workers)
        [worker] = listener.workers
        listener.paused()
        send(*notes(listener, "a", *texts))
        for _ in range(40):  # turns, in each of which it could have fetched five
            _until_polled(worker)
        assert len(worker._pending) <= 10
        pausing.resume(consumer=listener.consumer, by="ops")
        until(lambda: listener.processed() == len(texts))
    assert listener.calls == texts


def _until_polled(worker: ConsumerWorker) -> None:
    polled_at = worker._polled_at
    until(lambda: worker._polled_at > polled_at)


def test_what_was_being_tried_when_it_was_paused_has_all_its_tries_again(
    listener: Listener, settings: Settings
) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "UNKNOWN_RETRIES": 3}
    config.cache_clear()

    def fail(text: str) -> Exception:
        if len(listener.calls) == 2:
            at_once(lambda: pausing.pause(consumer=listener.consumer, by="ops"))
            time.sleep(pausing.LOOK_SECONDS)  # it looks no more often
        return KeyError(text)

    listener.fail = fail
    with instance(listener):
        send(*notes(listener, "a", "1"))
        until(lambda: len(listener.calls) == 2)
        listener.paused()
        tries = DeadLetter.objects.count()
        pausing.resume(consumer=listener.consumer, by="ops")
        until(lambda: DeadLetter.objects.exists())
    assert tries == 0
    assert len(listener.calls) == 2 + DeadLetter.objects.get().attempts


def test_what_failed_in_a_rebuild_is_not_held_against_the_live_one(listener: Listener) -> None:
    def is_tripped() -> bool:
        gate = pausing.Gate(listener.consumer)
        return gate.trips(keys=2, within=timedelta(hours=1), fingerprint="f", failure="ValueError: no")

    letter = DeadLetter(
        consumer=listener.consumer.name,
        generation=2,
        event_id=new_id(datetime.now(UTC)),
        topic=listener.topic.name,
        partition=0,
        offset=0,
        headers=[],
        fingerprint="f",
        attempts=1,
        died_at=datetime.now(UTC),
    )
    letter.save()
    pausing.pause(consumer=listener.consumer, by="ops")  # so that there is a time since when it runs
    pausing.resume(consumer=listener.consumer, by="ops")
    DeadLetter.objects.update(died_at=datetime.now(UTC))
    assert not is_tripped()
    DeadLetter.objects.update(generation=1)
    assert is_tripped()


def test_who_paused_it_first_is_who_did(listener: Listener) -> None:
    first = pausing.pause(consumer=listener.consumer, by="ana", reason="one")
    assert pausing.pause(consumer=listener.consumer, by="bob", reason="two") == first
    assert (first.by, first.reason) == ("ana", "one")
    assert pausing.resume(consumer=listener.consumer, by="bob")
    assert not pausing.resume(consumer=listener.consumer, by="bob")
    assert pausing.pause_of(listener.consumer) is None


def test_a_consumer_that_does_not_exist_is_not_paused() -> None:
    with pytest.raises(CommandError, match="No consumer is named 'nobody'"):
        said("pause", "nobody")


def test_pauses_are_written_down_with_who_and_why(listener: Listener) -> None:
    """Once each, however often they are asked for; also when the consumer pauses itself."""
    name = listener.consumer.name
    said("pause", name, "--reason", "a look at the data")
    pausing.pause(consumer=listener.consumer, by="bob")
    pausing.resume(consumer=listener.consumer, by="ana", reason="seen", via=Via.REST)
    pausing.resume(consumer=listener.consumer, by="ana")
    gate = pausing.Gate(listener.consumer)
    assert gate.trips(keys=1, within=timedelta(seconds=1), fingerprint="f", failure="ValueError: no")
    acts = list(acts_of(name, using="default"))
    assert [(act.act, act.result, act.via) for act in acts] == [
        ("pause", "paused", "command"),
        ("resume", "resumed", "rest"),
        ("pause", "paused", "worker"),
    ]
    assert [acts[0].why, acts[1].who, acts[1].why] == ["a look at the data", "ana", "seen"]
    assert acts[2].who == pausing.ITSELF
    assert "ValueError: no" in acts[2].why
    with pytest.raises(NothingSaid):
        pausing.pause(consumer=listener.consumer, by=" ")
