"""Waiting until consumers are done with an event, without a thread and a connection for everyone who waits.

One watcher per process asks the database, in one thread and on one connection, for all awaited events in one
query: often at first, when the answer is a moment away, and less and less the longer it lets wait. Nobody
waiting, nothing is asked and no connection is held.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, Error, connections

from outbox import selectors
from outbox.recovery import Family, backoff, family_of

# Seconds. An event is asked for again after a tenth of the time that it has been waited for, within these.
OFTENEST = 0.025
SELDOMEST = 0.5
# After this without anyone waiting the thread ends.
IDLE = 20.0

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Waiter:
    """Someone who waits for these consumers to be done with this event."""

    event_id: UUID
    consumers: frozenset[str]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    since: float = field(default_factory=time.monotonic)
    due: float = 0.0

    def put_off(self, now: float) -> None:
        """Ask again later."""
        self.due = now + min(SELDOMEST, max(OFTENEST, (now - self.since) / 10))

    def end(self, error: BaseException | None = None) -> None:
        """Let it go on, from whichever thread; raising this error, if there is one."""
        try:
            self.loop.call_soon_threadsafe(self._end, error)
        except RuntimeError:
            # Its loop was closed: nobody waits there any more.
            return

    def _end(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class Watcher:
    """Lets everyone who waits go on as soon as their consumers are done."""

    def __init__(
        self,
        *,
        settled: Callable[[Collection[UUID]], Mapping[UUID, Collection[str]]] = selectors.settled,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        self._settled = settled
        self._using = using
        self._waiters: set[Waiter] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiters)

    async def wait(self, event_id: UUID, *, consumers: frozenset[str], seconds: float) -> None:
        """Return when these consumers are done with the event, after `seconds`, or at the process's end.

        While the database is away nobody is done. Cancelling ends the waiting.
        """
        loop = asyncio.get_running_loop()
        waiter = Waiter(event_id, consumers, loop, loop.create_future())
        waiter.put_off(waiter.since)
        with self._changed:
            if self._closed:
                return
            self._waiters.add(waiter)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outbox-waiting", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            async with asyncio.timeout(seconds):
                await waiter.future
        except TimeoutError:
            return
        finally:
            with self._changed:
                self._waiters.discard(waiter)
                self._changed.notify()

    def close(self) -> None:
        """Let everyone go, and those who still come: the process is about to end."""
        with self._changed:
            self._closed = True
            for waiter in self._waiters:
                waiter.end()
            self._changed.notify()

    def join(self) -> None:
        """After close(): return when the thread and its connection are gone."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        pauses = backoff()
        try:
            while (waiters := self._next()) is not None:
                try:
                    self._ask(waiters)
                    pauses = backoff()
                except Error as error:
                    if family_of(error) not in {Family.RECOVERABLE, Family.CONTENTION}:
                        raise
                    logger.warning("cannot see what consumers have done, trying again: %s", error)
                    connections[self._using].close()
                    self._pause(next(pauses))
        except Exception as error:  # noqa: BLE001  (raised in everyone who waits)
            self._fail(error)
        finally:
            connections[self._using].close()

    def _next(self) -> list[Waiter] | None:
        """Those who are due, as soon as there are any; None when it is time to end."""
        with self._changed:
            # However many come and go, and whenever: not oftener than this.
            self._changed.wait_for(lambda: self._closed, OFTENEST)
            while not self._closed:
                now = time.monotonic()
                due = [waiter for waiter in self._waiters if waiter.due <= now]
                if due:
                    return due
                if self._waiters:
                    self._changed.wait(min(waiter.due for waiter in self._waiters) - now)
                    continue
                connections[self._using].close()
                if not self._changed.wait_for(lambda: self._closed or self._waiters, IDLE):
                    break
            self._thread = None
            return None

    def _ask(self, waiters: list[Waiter]) -> None:
        settled = self._settled({waiter.event_id for waiter in waiters})
        now = time.monotonic()
        for waiter in waiters:
            if waiter.consumers <= set(settled.get(waiter.event_id, ())):
                waiter.end()
            waiter.put_off(now)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, seconds)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._thread = None
            for waiter in self._waiters:
                waiter.end(error)


watcher = Watcher()
