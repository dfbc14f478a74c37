"""Asking somebody who may give no answer at all, not even an error."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from django.db import connections

T = TypeVar("T")


class Patient(Generic[T]):
    """Asks in a thread of its own, and gives up waiting after `seconds`.

    A server that hangs holds to no timeout that was set there, and its machine goes on acknowledging packets:
    only who waits can decide for how long. All who ask meanwhile share one question: a server that hangs
    costs one thread and one connection, which end when it comes back, or is given up by the network.
    """

    def __init__(self, ask: Callable[[], T], *, seconds: float, name: str) -> None:
        self._ask = ask
        self._seconds = seconds
        self._name = name
        self._lock = threading.Lock()
        self._asked: tuple[Future[T], float] | None = None

    def answer(self) -> T:
        """Raises TimeoutError when there is none in time, at once while that lasts; and what asking raises.

        Inside a transaction it is asked in this thread, and waited for: another would not see what it sees.
        """
        if any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
            return self._ask()
        with self._lock:
            if self._asked is None or self._asked[0].done():
                self._asked = Future[T](), time.monotonic()
                thread = threading.Thread(
                    target=self._run, args=self._asked[:1], name=self._name, daemon=True
                )
                thread.start()
            future, begun = self._asked
        return future.result(timeout=max(begun + self._seconds - time.monotonic(), 0.0))

    def _run(self, future: Future[T]) -> None:
        try:
            try:
                answer = self._ask()
            finally:
                connections.close_all()
        except BaseException as error:  # noqa: BLE001  (raised where it is waited for)
            future.set_exception(error)
        else:
            future.set_result(answer)
