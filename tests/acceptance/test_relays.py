"""Several relay processes share the work; whatever happens to one, nothing is skipped or out of order."""

import signal
from collections.abc import Iterator
from functools import partial

import pytest

from tests.acceptance.relays import Relays, check, running_relays
from tests.engine import until


@pytest.fixture
def relays() -> Iterator[Relays]:
    with running_relays() as relays:
        yield relays


def test_relays_share_are_frozen_killed_and_ended_and_no_key_is_out_of_order(relays: Relays) -> None:
    for name in ("first", "second"):
        relays.start(name)
    relays.start_load()
    until(lambda: relays.shared_by("first", "second"))
    relays.start("third")
    until(lambda: relays.shared_by("first", "second", "third"))
    relays.go_on()

    for name, others in (("first", ("second", "third")), ("second", ("first", "third"))) * 2:
        # Frozen in the midst of its work, for longer than its leases last.
        relays.send(name, signal.SIGSTOP)
        until(partial(relays.shared_by, *others))
        relays.go_on()
        relays.send(name, signal.SIGCONT)
        until(lambda: relays.shared_by("first", "second", "third"))
        relays.go_on()

    relays.send("third", signal.SIGKILL)
    until(lambda: relays.shared_by("first", "second"))
    relays.go_on()
    relays.send("second", signal.SIGTERM)
    assert relays.processes.pop("second").wait(30) == 0, relays.log()
    until(lambda: relays.shared_by("first"))
    relays.go_on()
    relays.end_load()
    check(relays)
