"""Tells relays that something was committed, without touching the business transaction.

A NOTIFY inside a transaction takes a lock shared by the whole server until the commit. Here a thread of
each process sends it afterwards, on a connection of its own, once for all commits since the last. A
wake-up may be lost, and does not work through a pooler in transaction mode: relays poll as well.
"""

import logging
import os
import threading

from django.db import DatabaseError, connections

CHANNEL = "outbox"
IDLE_SECONDS = 20.0

logger = logging.getLogger(__name__)
_wakers: dict[tuple[int, str], "Waker"] = {}
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
            while True:
                self._due.wait(IDLE_SECONDS)
                with _lock:
                    if self._stopping or not self._due.is_set():
                        self._thread, self._stopping = None, False
                        return
                    self._due.clear()
                try:
                    connection.ensure_connection()
                    with connection.cursor() as cursor:
                        cursor.execute(f"NOTIFY {CHANNEL}")
                except DatabaseError as error:
                    # The business commit stands; relays find it by polling.
                    logger.warning("could not wake the relays, they will poll: %s", error)
                    connection.close()
        finally:
            connection.close()


def wake(*, using: str) -> None:
    """Wake the relays of this database. Cheap: many calls become one notification."""
    key = (os.getpid(), using)  # a forked worker needs a thread of its own
    waker = _wakers.get(key)
    if waker is None:
        with _lock:
            waker = _wakers.setdefault(key, Waker(using))
    waker.wake()


def stop() -> None:
    """End this process's threads, so that nothing holds a connection (before dropping a test database)."""
    for (pid, _), waker in list(_wakers.items()):
        if pid == os.getpid():
            waker.stop()
