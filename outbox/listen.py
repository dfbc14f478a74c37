"""The relay's ear for wake-ups; without one it polls."""

import psycopg
from django.db import connections

from outbox.wake import CHANNEL


class Listener:
    """A connection of its own that waits for NOTIFY. Behind a pooler in transaction mode it hears nothing."""

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
            self._connection.execute(f"LISTEN {CHANNEL}")

    def wait(self, timeout: float) -> None:
        """Return at the first wake-up, or after `timeout` seconds. Wake-ups since the last call count."""
        assert self._connection is not None  # noqa: S101
        with connections[self._using].wrap_database_errors:
            for _ in self._connection.notifies(timeout=timeout, stop_after=1):
                pass

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
