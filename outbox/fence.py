"""Seeing to it that a handler leaves the transaction as it found it: open, and no deeper.

Django would release the savepoint of a block that a handler left open in the place of committing the batch,
and say nothing: then offsets are committed of events whose effects are not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from outbox.errors import TransactionEnded


@contextmanager
def fenced(*, using: str) -> Iterator[None]:
    """A handler's call. Raises TransactionEnded when it has ended the transaction, or left a block open.

    Whatever the handler left open is closed with the batch.
    """
    connection = connections[using]
    depth = len(connection.savepoint_ids)
    try:
        yield
        fault = _fault(connection, depth)
    finally:
        left = len(connection.savepoint_ids) - depth
        if left > 0:
            del connection.savepoint_ids[-left:]
            del connection.atomic_blocks[-left:]
    if fault is not None:
        raise TransactionEnded(f"The handler {fault}: its consumer commits, with the event's inbox row.")


def _fault(connection: BaseDatabaseWrapper, depth: int) -> str | None:
    if connection.closed_in_transaction or connection.connection is None:
        return "closed its connection"
    if len(connection.savepoint_ids) != depth:
        return "left a block of transaction.atomic() open, or ended one that is not its own"
    if connection.needs_rollback:
        return "has the transaction rolled back, or swallowed an error outside a block of its own"
    if connection.connection.info.transaction_status is TransactionStatus.IDLE:
        return "ended the transaction"
    return None
