"""Tells relays that something was committed, without touching the business transaction.

A NOTIFY inside a transaction takes a lock shared by the whole server until the commit. Here a thread of
each process sends it afterwards, on a connection of its own, once for all commits since the last. A
wake-up may be lost, and a relay behind a pooler hears none: relays poll as well.
"""

import logging
import os
import threading
import time

from django.db import Error, connections

CHANNEL = "outbox"
IDLE_SECONDS = 20.0
# After a wake-up, in which commits are gathered for the next one: each would cost as much as a small commit.
# A relay that has something under way looks again by itself.
REST_SECONDS = 0.005

# It has nothing to be kept: without the setting the server would write it to disk before telling anybody.
_NOTIFY = f"BEGIN; SET LOCAL synchronous_commit = off; NOTIFY {CHANNEL}; COMMIT"

logger = logging.getLogger(__name__)
_wakers: dict[str, "Waker"] = {}
_lock = threading.Lock()


class Waker:
    """One database's thread; it ends, with its connection, after IDLE_SECONDS without a commit."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._due = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Have relays woken soon. Never blocks on the database."""
        self._due.set()
        with _lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"outbox-wake-{self._using}", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread and its connection."""
        thread, self._stopping = self._thread, True
        self._due.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        connection = connections[self._using]
        try:
            while self._next():
                try:
                    connection.ensure_connection()
                    with connection.cursor() as cursor:
                        cursor.execute(_NOTIFY)
                    time.sleep(REST_SECONDS)
                except Error as error:
                    # The business commit stands; relays find it by polling.
                    logger.warning("could not wake the relays, they will poll: %s", error)
                    connection.close()
        finally:
            connection.close()

    def _next(self) -> bool:
        """Wait for something to send; False when it is time to end."""
        self._due.wait(IDLE_SECONDS)
        with _lock:
            if self._stopping or not self._due.is_set():
                self._thread, self._stopping = None, False
                return False
            self._due.clear()
            return True


def wake(*, using: str) -> None:
    """Wake the relays of this database. Cheap: many calls become one notification."""
    waker = _wakers.get(using)
    if waker is None:
        with _lock:
            waker = _wakers.setdefault(using, Waker(using))
    waker.wake()


def stop() -> None:
    """End this process's threads, so that nothing holds a connection (before dropping a test database)."""
    for waker in list(_wakers.values()):
        waker.stop()


def _forget() -> None:
    """A forked child has neither the threads of its parent nor, for certain, a lock that is free."""
    global _lock
    _lock = threading.Lock()
    _wakers.clear()


os.register_at_fork(after_in_child=_forget)
