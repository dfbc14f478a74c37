"""The relay's ear for wake-ups; without one it polls."""

import logging
import time

import psycopg
from django.db import connections

from outbox.sessions import is_own
from outbox.wake import CHANNEL

logger = logging.getLogger(__name__)


class Listener:
    """A connection of its own that waits for NOTIFY. Through a pooler it does not listen, and hears nothing.

    There LISTEN would stay in a session that others share, and have them told of every wake-up.
    """

    def __init__(self, *, using: str) -> None:
        self._using = using
        self._connection: psycopg.Connection | None = None

    def listen(self) -> None:
        """Begin to listen. Raises OperationalError when the database is away."""
        self.close()
        wrapper = connections[self._using]
        with wrapper.wrap_database_errors:
            parameters = wrapper.get_connection_params()
            parameters.pop("cursor_factory", None)
            parameters.pop("context", None)
            self._connection = psycopg.connect(**parameters, autocommit=True)
            if is_own(self._connection):
                self._connection.execute(f"LISTEN {CHANNEL}")
            else:
                logger.info("wake-ups do not come through a pooler: the relay polls")
                self.close()

    def wait(self, timeout: float) -> None:
        """Return at the first wake-up, or after `timeout` seconds. Wake-ups since the last call count."""
        if self._connection is None:
            time.sleep(timeout)
            return
        with connections[self._using].wrap_database_errors:
            for _ in self._connection.notifies(timeout=timeout, stop_after=1):
                pass

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
