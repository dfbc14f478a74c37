"""A paused consumer processes nothing, stays in its group, and goes on where it was."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from outbox import pausing, registry
from outbox.errors import NothingSaid
from outbox.repair.acts import Via, acts_of
from tests.engine import new_topic, send, until
from tests.integration.outbox.listeners import Listener, instance, members, notes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def listener() -> Iterator[Listener]:
    before = dict(registry._consumers)
    yield Listener(new_topic(partitions=2))
    registry._consumers.clear()
    registry._consumers.update(before)


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
