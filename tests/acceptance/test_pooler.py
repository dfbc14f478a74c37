"""Relays, publishers and consumers that reach PostgreSQL through a pooler in transaction mode, and kills."""

import signal
from collections.abc import Iterator
from functools import partial

import pytest

from tests.acceptance.effects import check_points, check_volumes
from tests.acceptance.relays import Relays, check, running_relays
from tests.engine import until
from tests.pooler import POOL_SIZE

STEP = 60  # events that a consumer must have moved past


@pytest.fixture
def relays() -> Iterator[Relays]:
    with running_relays(pooled=True) as relays:
        yield relays


def test_relays_are_frozen_and_killed_and_no_key_is_out_of_order(relays: Relays) -> None:
    for name in ("first", "second"):
        relays.start(name)
    relays.start_load()
    until(lambda: relays.shared_by("first", "second"))
    relays.go_on()
    assert relays.sessions() <= POOL_SIZE

    for _ in range(2):
        # Frozen in the midst of its work, for longer than its leases last.
        relays.send("first", signal.SIGSTOP)
        until(lambda: relays.shared_by("second"))
        relays.go_on()
        relays.send("first", signal.SIGCONT)
        until(lambda: relays.shared_by("first", "second"))
        relays.go_on()

    relays.kill("second")
    until(lambda: relays.shared_by("first"))
    relays.go_on()
    relays.end_load()
    check(relays)
    relays.send("first", signal.SIGTERM)
    assert relays.processes.pop("first").wait(30) == 0, relays.log()


def test_consumers_are_killed_and_each_effect_happens_once(relays: Relays) -> None:
    relays.start("relay")
    relays.start_load("tests.acceptance.load")
    # Of the second, a projection, each batch holds a lock until its commit.
    for consumer in ("loyalty", "analytics"):
        start(relays, consumer)
        go_on(relays, consumer)
        relays.kill(consumer)
        start(relays, consumer)
        go_on(relays, consumer)
    until(lambda: relays.sessions() <= POOL_SIZE)  # those of the killed may just be ending
    relays.end_load()
    published = count(relays, "outbox_event WHERE topic = 'payments'")
    for consumer in ("loyalty", "analytics"):
        until(partial(has_moved_past, relays, consumer, published), seconds=180)
    assert count(relays, "payments_payment WHERE status = 'refunded'") > 0
    check_points(relays.query)
    check_volumes(relays.query)


def start(relays: Relays, consumer: str) -> None:
    relays.start(consumer, "manage.py", "run_consumer", consumer)


def go_on(relays: Relays, consumer: str) -> None:
    """Return when it has moved past more events."""
    goal = moved_past(relays, consumer) + STEP
    until(lambda: has_moved_past(relays, consumer, goal), seconds=60)


def has_moved_past(relays: Relays, consumer: str, events: int) -> bool:
    return moved_past(relays, consumer) >= events


def moved_past(relays: Relays, consumer: str) -> int:
    return count(relays, f"outbox_inbox WHERE consumer = '{consumer}'")


def count(relays: Relays, rows: str) -> int:
    return int(relays.query(f"SELECT count(*) FROM {rows}")[0][0])
