"""A session of one's own: whatever outlives a transaction, a lock or a LISTEN, needs one."""

from typing import Any

import psycopg
from django.db import connections

from outbox.errors import PooledDatabase

# Once a setting of a transaction has been used in a session, it is empty in others.
SAME_BATCH = "coalesce(current_setting('outbox.batch', true), '') <> ''"


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


def enter_batch(*, limit: float, using: str) -> None:
    """Begin a batch in the transaction under way, so that `is_same_batch` can tell whether it still is.

    limit  seconds without a statement after which PostgreSQL ends this session: a frozen process would
           otherwise hold its locks until it wakes
    """
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, true),"
            " set_config('outbox.batch', 'begun', true)",
            [str(int(limit * 1_000))],
        )


def is_same_batch(*, using: str) -> bool:
    """Whether the transaction under way is the one in which the batch began: no other has its settings."""
    with connections[using].cursor() as sql:
        sql.execute(f"SELECT {SAME_BATCH}")
        return bool(sql.fetchone()[0])
