"""A session of one's own: whatever outlives a transaction, a lock or a LISTEN, needs one."""

from typing import Any

import psycopg
from django.db import connections

from outbox.errors import PooledDatabase


def is_own(connection: psycopg.Connection[Any]) -> bool:
    """Whether the process of the server that answers is the one that was named when the connection was made.

    A pooler makes a name up for each client: several of them share the processes. PgBouncer does so also
    where it gives a client one of them until it leaves.
    """
    with connection.cursor() as sql:
        sql.execute("SELECT pg_backend_pid()")
        return sql.fetchone() == (connection.info.backend_pid,)


def require_own(*, using: str) -> None:
    """Raises PooledDatabase where this thread's connection leads to a pooler."""
    wrapper = connections[using]
    wrapper.ensure_connection()
    with wrapper.wrap_database_errors:
        if not is_own(wrapper.connection):
            raise PooledDatabase


def end_when_idle(*, after: float, using: str) -> None:
    """Have PostgreSQL end this session when the transaction under way has no statement for so many seconds.

    A frozen process would otherwise hold its locks until it wakes.
    """
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(int(after * 1_000))]
        )
