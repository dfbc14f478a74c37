"""Handlers that do not come back: interrupted after their limit, as a last resort ended with their process.

A thread of Python cannot be killed. So its SQL is cancelled and an exception is raised in it, which ends
whatever is written in Python and all waiting for the database. What waits in native code is ended with the
process: the event is suspect then, and set aside when it happens again and again (outbox/suspects.py).
"""

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from outbox.config import config
from outbox.errors import HandlerTimedOut
from outbox.registry import Consumer, Route

LOOK_SECONDS = 0.2
# After it was interrupted a handler is given as long again, and no longer than this.
LONGEST_GRACE = 10.0
EXIT_STATUS = 70


def grace(limit: float) -> float:
    """Seconds that a handler is given to end after it was interrupted."""
    return min(limit, LONGEST_GRACE)


def limit_of(route: Route) -> float:
    """Seconds that a call of its handler may take."""
    return config().handler_limit if route.limit is None else route.limit.total_seconds()


def frozen_after(limits: Iterable[float]) -> float:
    """Seconds without a statement after which no handler of these limits can be at work any more."""
    return max((limit + 2 * grace(limit) for limit in limits), default=0.0)


def idle_limit(consumer: Consumer) -> float:
    """Seconds without a statement after which a transaction with this consumer's handlers is frozen."""
    return frozen_after(map(limit_of, consumer.routes.values()))


def longest_calls(routes: Iterable[Route]) -> float:
    """Seconds that a batch may take for the calls to come once it begins no further event.

    Of one event, and of each handler for which it has gathered a list.
    """
    routes = sorted(routes, key=limit_of)
    lists = {route.handler: frozen_after([limit_of(route)]) for route in routes if route.batched}
    return frozen_after(map(limit_of, routes)) + sum(lists.values())


logger = logging.getLogger(__name__)


class _Interrupt(BaseException):
    """Raised in the handler's thread."""


def _interrupt(thread: int) -> None:
    """Have it raised in this thread, at its next step in Python; once, however often it was called before."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(_Interrupt))


def _take_what_is_pending() -> None:
    """Let no interruption of this thread be pending: one that is comes here, in the place of a later one.

    Withdrawn (by NULL), it would be looked for at every step ever after; and under sys.settrace(), as
    debuggers and coverage use it, CPython 3.11 would not get on at all.
    """
    with suppress(_Interrupt):
        _interrupt(threading.get_ident())
        while True:
            pass


class Watchdog:
    """Watches the handlers of one thread, from a thread of its own, inside its block.

    ends_process  what cannot be interrupted is ended with the process; else PostgreSQL ends its session, by
                  enter_batch(), and nobody waits for its locks any more
    """

    def __init__(self, *, using: str, ends_process: bool = True) -> None:
        self._using, self._ends_process = using, ends_process
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="outbox-watchdog", daemon=True)
        self._deadline: float | None = None
        self._grace = 0.0
        self._fired = False
        self._what = ""
        self._watched = 0
        self._connection: BaseDatabaseWrapper | None = None

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def watch(self, consumer: Consumer) -> Callable[[Route], AbstractContextManager[None]]:
        """The block in which a handler of this consumer is called: limit() with its own limit."""

        def block(route: Route) -> AbstractContextManager[None]:
            name = getattr(route.handler, "__qualname__", repr(route.handler))
            return self.limit(limit_of(route), what=f"{consumer.name}: handler {name}")

        return block

    @contextmanager
    def limit(self, seconds: float, *, what: str) -> Iterator[None]:
        """A handler's call. Raises HandlerTimedOut when it took longer, from what interrupted it."""
        with self._lock:
            self._watched, self._connection = threading.get_ident(), connections[self._using]
            self._what, self._grace, self._fired = what, grace(seconds), False
            self._deadline = time.monotonic() + seconds
        late = HandlerTimedOut(f"{what} did not end within {seconds:g} s.")
        try:
            yield
        except BaseException as error:
            if self._end():
                raise late from error
            raise
        if self._end():
            raise late

    def _end(self) -> bool:
        """Watch no more; whether it was interrupted. No interruption comes after this."""
        interrupted = False
        while True:
            try:
                with self._lock:
                    interrupted |= self._fired
                    self._deadline, self._fired = None, False
                if interrupted:
                    _take_what_is_pending()
                return interrupted
            except _Interrupt:
                interrupted = True

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                if self._deadline is None or time.monotonic() < self._deadline:
                    continue
                if not self._fired:
                    self._fired = True
                    self._interrupt()
                elif time.monotonic() > self._deadline + self._grace:
                    if self._ends_process:
                        logger.critical("%s cannot be interrupted: this process ends itself", self._what)
                        os._exit(EXIT_STATUS)
                    logger.critical("%s cannot be interrupted: its session will be ended", self._what)
                    self._deadline = None

    def _interrupt(self) -> None:
        """Under the lock: the handler cannot end meanwhile, and nothing else of its thread is hit."""
        logger.error("%s has reached its limit and is interrupted", self._what)
        connection = None if self._connection is None else self._connection.connection
        if connection is not None:
            with suppress(Exception):
                connection.cancel_safe(timeout=2.0)
        _interrupt(self._watched)
