"""Seeing to it that a handler leaves the transaction as it found it: open, and no deeper.

Django would release the savepoint of a block that a handler left open in the place of committing the batch,
and say nothing: then offsets are committed of events whose effects are not.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlparse
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from outbox.errors import TransactionEnded

# A statement that ends the transaction, behind blanks and comments. ROLLBACK TO a savepoint does not.
_ENDS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:commit|end|abort|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b)|prepare\s+transaction)\b",
    re.IGNORECASE | re.DOTALL,
)


@contextmanager
def fenced(*, using: str) -> Iterator[None]:
    """A handler's call. Raises TransactionEnded when it ends the transaction, or has left a block open.

    Its SQL that would end the transaction is refused before it is sent, and so are commit() and rollback() of
    the driver's connection. What it commits by a cursor of the driver's own stays, and is found out here, or,
    when it began anew at once, where the inbox rows are written. What it left open is closed with the batch.
    """
    connection = connections[using]
    depth = len(connection.savepoint_ids)
    try:
        with connection.execute_wrapper(_refuse_the_end), _refusing(connection.connection):
            yield
        fault = _fault(connection, depth)
    finally:
        left = len(connection.savepoint_ids) - depth
        if left > 0:
            del connection.savepoint_ids[-left:]
            del connection.atomic_blocks[-left:]
    if fault is not None:
        raise ended(fault)


@contextmanager
def _refusing(driver: Any) -> Iterator[None]:
    """The methods by which psycopg's connection ends a transaction raise meanwhile."""

    def refuse(name: str) -> Callable[[], None]:
        def refused() -> None:
            raise ended(f"was to end the transaction by {name}() of the driver's connection")

        return refused

    driver.commit, driver.rollback = refuse("commit"), refuse("rollback")
    try:
        yield
    finally:
        del driver.commit, driver.rollback


def _refuse_the_end(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    """As Django calls what is wrapped around each statement."""
    text = sql if isinstance(sql, str) else ""
    if ";" in text.rstrip("; \n") and (ends := [one for one in sqlparse.split(text) if _ENDS.match(one)]):
        text = ends[0]
    if _ENDS.match(text):
        raise ended(f"was to end the transaction by {text.strip()!r}")
    return execute(sql, params, many, context)


def ended(fault: str) -> TransactionEnded:
    """The error for what a handler did to its transaction."""
    return TransactionEnded(f"The handler {fault}: its consumer commits, with the event's inbox row.")


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
