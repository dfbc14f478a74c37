"""Events kept until just before the commit, and written in one sorted statement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

if TYPE_CHECKING:
    from outbox.publishing import OutboxRow

_pending: ContextVar[dict[str, "Pending"]] = ContextVar("outbox_pending")


class Pending:
    """The events that one transaction has published so far.

    An event goes when the savepoint it was published in is rolled back. Django already keeps that book
    for on_commit callbacks, so each event stands behind one, and is alive while that is registered.
    """

    def __init__(self, using: str) -> None:
        self.connection = connections[using]
        self._rows: list[tuple[Callable[[], None], OutboxRow]] = []
        self._using = using

    def add(self, row: "OutboxRow") -> None:
        """Keep an event; it wakes the relay when it has been committed."""

        from outbox.publishing import committed as tell

        def committed() -> None:
            tell(row, using=self._using)

        self.connection.on_commit(committed, robust=True)
        self._rows.append((committed, row))

    def flush(self) -> None:
        """Write the events whose savepoints still stand, in the order of publishing."""
        from outbox.publishing import write

        registered: list[Any] = self.connection.run_on_commit  # (savepoints, callback, robust)
        alive = {callback for _, callback, _ in registered}
        rows = [row for committed, row in self._rows if committed in alive]
        self._rows.clear()
        if rows:
            write(rows, using=self._using)


def pending(using: str) -> Pending | None:
    """The buffer of the `outbox.atomic()` block under way on this database, if there is one."""
    collected = _pending.get({}).get(using)
    # A copied context may reach another thread, whose connection has a transaction of its own.
    return collected if collected is not None and collected.connection is connections[using] else None


@contextmanager
def atomic(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """transaction.atomic() in which publish() only collects; the events are written as the block ends.

    Two such transactions cannot deadlock on the keys of their events, in whatever order they publish. A
    block inside another one leaves the writing to the outer.
    """
    with transaction.atomic(using=using):
        if pending(using) is not None:
            yield
            return
        collected = Pending(using)
        token = _pending.set({**_pending.get({}), using: collected})
        try:
            yield
        finally:
            _pending.reset(token)
        if not transaction.get_rollback(using=using):
            collected.flush()
