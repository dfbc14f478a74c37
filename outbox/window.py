"""The relay's cursor: what one snapshot sees and the one before did not.

A cursor over a sequence skips the row whose transaction commits late. Two snapshots do not: a transaction
is in exactly one of the windows between consecutive snapshots, whenever it commits and however long it
took. The same idea drives PgQ (Skype's SkyTools). Positions order the rows of a window, and so of a key:
a key is locked before its event is numbered, so a later event of it has a higher position and is visible
in no snapshot that does not see the earlier one.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A pg_snapshot: `xmin:xmax:xip,…`. It sees what ended before xmax, save the transactions in xip."""

    text: str

    @property
    def xmax(self) -> str:
        return self.text.split(":")[1]

    @property
    def in_progress(self) -> list[str]:
        return [xid for xid in self.text.split(":")[2].split(",") if xid]


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a relay has come; kept in outbox_shard.

    previous  all that this snapshot sees has been sent
    current   the window's end, frozen until all before it has been sent; None between windows
    position  the last one sent of the window; 0 at its start
    """

    previous: Snapshot
    current: Snapshot | None
    position: int

    def after(self, page: "WindowPage") -> "Cursor":
        """The cursor once this page has been sent: further in the window, or at its end."""
        if self.current is None:
            return self
        if page.last:
            return Cursor(self.current, None, 0)
        return replace(self, position=page.records[-1].position)


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """An outbox row as the relay sends it."""

    id: UUID
    position: int
    topic: str
    key: str | None
    number: int | None
    partition: int | None
    type: str
    source: str
    occurred_at: datetime
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None
    content_type: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class WindowPage:
    """Consecutive rows of a window, by position; `last` when nothing of the window comes after them."""

    records: list[OutboxRecord]
    last: bool


_COLUMNS = ", ".join(OutboxRecord.__slots__)

# Two queries, not one with OR, so that each is a plain range of the index on txid: transactions numbered
# since the previous snapshot, and those that were in progress then, one by one.
_NEW = f"""
    (SELECT {_COLUMNS} FROM outbox_event
    WHERE txid >= %(after)s::xid8 AND txid < %(before)s::xid8 AND position > %(position)s
        AND shard = ANY(%(shards)s) AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
    ORDER BY position LIMIT %(limit)s)"""
_LATE = f"""
    (SELECT {_COLUMNS} FROM outbox_event
    WHERE txid = ANY(%(late)s::xid8[]) AND position > %(position)s AND shard = ANY(%(shards)s)
        AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
    ORDER BY position LIMIT %(limit)s)"""
# Whole rows until their payloads reach %(size)s bytes, but one at least; `found` counts those there were.
_PAGE = """
SELECT {columns}, found FROM (
    SELECT *, count(*) OVER () AS found,
        sum(octet_length(payload)) OVER (ORDER BY position) - octet_length(payload) AS before_it
    FROM (SELECT * FROM ({rows}) row ORDER BY position LIMIT %(limit)s) page
) sized WHERE before_it < %(size)s ORDER BY position"""


def open_window(cursor: Cursor, *, using: str) -> Cursor:
    """Freeze what is committed now as the window's end."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_current_snapshot()::text")
        return replace(cursor, current=Snapshot(sql.fetchone()[0]))


def read_page(cursor: Cursor, *, shards: list[int], limit: int, size: int, using: str) -> WindowPage:
    """The window's next rows of these shards: at most `limit`, and about `size` bytes of payload."""
    if cursor.current is None or cursor.current == cursor.previous:
        return WindowPage([], last=True)
    late = cursor.previous.in_progress
    query = _PAGE.format(columns=_COLUMNS, rows=f"{_NEW} UNION ALL {_LATE}" if late else _NEW)
    parameters: dict[str, Any] = {
        "after": cursor.previous.xmax,
        "before": cursor.current.xmax,
        "current": cursor.current.text,
        "late": late,
        "position": cursor.position,
        "shards": shards,
        "limit": limit,
        "size": size,
    }
    with connections[using].cursor() as sql:
        sql.execute(query, parameters)
        rows = sql.fetchall()
    found = rows[0][-1] if rows else 0
    return WindowPage([OutboxRecord(*row[:-1]) for row in rows], last=len(rows) == found < limit)
