"""One thread and one query for everyone who waits; whatever happens, nobody waits longer than it would."""

import asyncio
import threading
import time
from collections.abc import Collection, Iterator
from uuid import UUID, uuid4

import pytest
from django.db import InterfaceError

from outbox import waiting
from outbox.waiting import Watcher

pytestmark = pytest.mark.django_db


class Database:
    """What consumers have done, and how it was asked for."""

    def __init__(self) -> None:
        self.settled: dict[UUID, set[str]] = {}
        self.asked: list[set[UUID]] = []
        self.threads: set[str] = set()
        self.error: Exception | None = None

    def __call__(self, event_ids: Collection[UUID]) -> dict[UUID, set[str]]:
        self.asked.append(set(event_ids))
        self.threads.add(threading.current_thread().name)
        if self.error is not None:
            raise self.error
        return {event_id: self.settled[event_id] for event_id in event_ids if event_id in self.settled}


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def watcher(database: Database) -> Iterator[Watcher]:
    watcher = Watcher(settled=database)
    yield watcher
    watcher.close()
    watcher.join()


BOTH = frozenset({"orders", "loyalty"})


async def asked_again(database: Database, *, times: int = 1) -> None:
    """Return when the database has been asked some times more."""
    before = len(database.asked)
    async with asyncio.timeout(20):
        while len(database.asked) < before + times:
            await asyncio.sleep(0.005)


async def test_it_lasts_until_every_consumer_is_done(watcher: Watcher, database: Database) -> None:
    event_id = uuid4()
    waiter = asyncio.create_task(watcher.wait(event_id, consumers=BOTH, seconds=20))
    await asked_again(database)
    database.settled[event_id] = {"orders"}
    await asked_again(database, times=2)
    assert not waiter.done()
    database.settled[event_id] = {"orders", "loyalty", "analytics"}
    async with asyncio.timeout(5):
        await waiter
    assert watcher.waiting == 0


async def test_it_ends_with_its_time(watcher: Watcher) -> None:
    begun = time.monotonic()
    await watcher.wait(uuid4(), consumers=BOTH, seconds=0.2)
    assert 0.2 <= time.monotonic() - begun < 5
    assert watcher.waiting == 0


async def test_many_wait_in_one_thread_and_one_query(watcher: Watcher, database: Database) -> None:
    ids = [uuid4() for _ in range(500)]
    waiters = [asyncio.create_task(watcher.wait(event_id, consumers=BOTH, seconds=20)) for event_id in ids]
    await asked_again(database, times=3)
    database.settled.update({event_id: set(BOTH) for event_id in ids})
    async with asyncio.timeout(5):
        await asyncio.gather(*waiters)
    assert database.threads == {"outbox-waiting"}
    assert set(ids) in database.asked


async def test_who_has_waited_for_long_is_asked_for_less_often(
    watcher: Watcher, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SELDOMEST", 0.25)
    await watcher.wait(uuid4(), consumers=BOTH, seconds=1.5)
    # 25 ms all the way would be 60 times; a tenth of the time waited is 10 times up to 250 ms, then 15.
    assert 8 <= len(database.asked) <= 35


async def test_nobody_waiting_nothing_is_asked(watcher: Watcher, database: Database) -> None:
    await watcher.wait(uuid4(), consumers=BOTH, seconds=0.1)
    await asyncio.sleep(0.05)
    asked = len(database.asked)
    await asyncio.sleep(0.3)
    assert len(database.asked) == asked


async def test_it_waits_on_while_the_database_is_away(watcher: Watcher, database: Database) -> None:
    event_id = uuid4()
    database.error = InterfaceError("away")
    waiter = asyncio.create_task(watcher.wait(event_id, consumers=BOTH, seconds=20))
    await asked_again(database, times=2)
    assert not waiter.done()
    database.error, database.settled[event_id] = None, set(BOTH)
    async with asyncio.timeout(5):
        await waiter


async def test_a_fault_of_the_program_is_raised_in_who_waits(watcher: Watcher, database: Database) -> None:
    database.error = RuntimeError("a fault")
    with pytest.raises(RuntimeError, match="a fault"):
        await watcher.wait(uuid4(), consumers=BOTH, seconds=20)
    database.error = None
    event_id = uuid4()
    database.settled[event_id] = set(BOTH)
    async with asyncio.timeout(5):
        await watcher.wait(event_id, consumers=BOTH, seconds=20)


async def test_cancelling_ends_it(watcher: Watcher, database: Database) -> None:
    waiter = asyncio.create_task(watcher.wait(uuid4(), consumers=BOTH, seconds=20))
    await asked_again(database)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert watcher.waiting == 0


async def test_closing_lets_everyone_go_and_keeps_nobody(watcher: Watcher, database: Database) -> None:
    waiter = asyncio.create_task(watcher.wait(uuid4(), consumers=BOTH, seconds=20))
    await asked_again(database)
    watcher.close()
    async with asyncio.timeout(5):
        await waiter
        await watcher.wait(uuid4(), consumers=BOTH, seconds=20)


async def test_the_thread_ends_when_nobody_comes(
    watcher: Watcher, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "IDLE", 0.05)
    await watcher.wait(uuid4(), consumers=BOTH, seconds=0.1)
    async with asyncio.timeout(5):
        while watcher._thread is not None:
            await asyncio.sleep(0.01)
    event_id = uuid4()
    database.settled[event_id] = set(BOTH)
    await watcher.wait(event_id, consumers=BOTH, seconds=20)
