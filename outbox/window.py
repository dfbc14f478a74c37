"""The relay's cursor: what one snapshot sees and the one before did not.

A cursor over a sequence skips the row whose transaction commits late. Two snapshots do not: a transaction
is in exactly one of the windows between consecutive snapshots, whenever it commits and however long it
took. The same idea drives PgQ (Skype's SkyTools). Positions order the rows of a window, and so of a key:
a key is locked before its event is numbered, so a later event of it has a higher position and is visible
in no snapshot that does not see the earlier one.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import psycopg
from django.db import connections

from outbox.keys import SHARDS

_NOWHERE = (1 << 63) - 1
# Ranges without any row grow by this.
STRIDE = 4


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
    position  all of the window up to here has been sent; 0 at its start
    bounds    between which positions its rows lie that are no late commits; found out when needed, not kept
    """

    previous: Snapshot
    current: Snapshot | None
    position: int
    bounds: "Bounds | None" = field(default=None, compare=False)

    def after(self, page: "WindowPage") -> "Cursor":
        """The cursor once this page has been sent: further in the window, or at its end."""
        if self.current is None:
            return self
        if page.last:
            return Cursor(self.current, None, 0)
        return replace(self, position=page.reached, bounds=page.bounds)


class Bounds(NamedTuple):
    """The first position of a window's rows that are no late commits, and one that none lies above."""

    floor: int
    top: int


class OutboxRecord(NamedTuple):
    """An outbox row as the relay sends it. Ids and the time are text: they go into headers as they are."""

    id: str
    position: int
    topic: str
    key: str | None
    number: int | None
    partition: int | None
    type: str
    source: str
    occurred_at: str
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    content_type: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class WindowPage:
    """Consecutive rows of a window, by position.

    reached  the position up to which there are no others
    last     whether nothing of the window comes after them
    """

    records: list[OutboxRecord]
    last: bool
    reached: int = 0
    bounds: Bounds | None = None


def columns_as_sent(table: str) -> str:
    """What makes an OutboxRecord of a row."""
    return ", ".join(_AS_TEXT.get(name, "{0}.{1}").format(table, name) for name in OutboxRecord._fields)


# PostgreSQL writes them faster than Python does.
_AS_TEXT = {
    **dict.fromkeys(("id", "correlation_id", "causation_id"), "{0}.{1}::text"),
    "occurred_at": """to_char({0}.{1} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
}


_COLUMNS = ", ".join(OutboxRecord._fields)

# A window's first page. Transactions numbered since the previous snapshot are a range of the index on txid.
# Ordered by an expression: in the order of the index on position the whole table would be looked through.
_FIRST = f"""
    (SELECT {_COLUMNS} FROM outbox_event
    WHERE txid >= %(after)s::xid8 AND txid < %(before)s::xid8 AND shard = ANY(%(shards)s)
        AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
    ORDER BY position + 0 LIMIT %(limit)s)"""
# Those that were in progress then, one by one: each a range of the index on (txid, position).
_LATE = f"""
    (SELECT {_COLUMNS} FROM unnest(%(late)s::xid8[]) AS late (xid) CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM outbox_event
        WHERE txid = late.xid AND position > %(position)s AND position <= %(start)s
            AND shard = ANY(%(shards)s) AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
        ORDER BY position LIMIT %(limit)s) AS one
    ORDER BY position LIMIT %(limit)s)"""
# Its further pages are ranges of the index on position, which look at each row of the window once in all.
# Without an end to the range the planner may prefer to sort all the rest of the window for each page.
_NEXT = f"""
    (SELECT {_COLUMNS} FROM outbox_event
    WHERE position > %(start)s AND position <= %(stop)s AND shard = ANY(%(shards)s)
        AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
        AND NOT pg_visible_in_snapshot(txid, %(previous)s::pg_snapshot)
    ORDER BY position LIMIT %(limit)s)"""
# Whole rows until their payloads reach %(size)s bytes, but one at least.
_PAGE = """
SELECT {columns} FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING)
        - octet_length(payload) AS before_it
    FROM (SELECT * FROM ({rows}) AS row ORDER BY position LIMIT %(limit)s) AS page
) AS sized WHERE before_it < %(size)s ORDER BY position"""
# Every position of the window was drawn before this is asked.
_BOUNDS = """
SELECT coalesce((SELECT min(position + 0) FROM outbox_event
        WHERE txid >= %(after)s::xid8 AND txid < %(before)s::xid8
            AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)), last_value), last_value
FROM outbox_event_position"""


def snapshot(*, using: str) -> Snapshot:
    """What is committed now."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_current_snapshot()::text")
        return Snapshot(sql.fetchone()[0])


def read_page(cursor: Cursor, *, shards: list[int], limit: int, size: int, using: str) -> WindowPage:
    """The window's next rows of these shards: at most `limit`, and about `size` bytes of payload.

    Costs what it returns, once the first page is there; that one, and the first after a restart in the midst
    of a window, cost a look at the whole window's index besides.
    """
    if cursor.current is None or cursor.current == cursor.previous:
        return WindowPage([], last=True)
    asked = _Question(cursor, shards=shards, limit=limit, size=size, using=using)
    return asked.first_page() if cursor.position == 0 else asked.next_page()


class _Question:
    """What is asked of one window for one page."""

    def __init__(self, cursor: Cursor, *, shards: list[int], limit: int, size: int, using: str) -> None:
        assert cursor.current is not None  # noqa: S101  (there is a window)
        self._cursor, self._limit, self._size, self._using = cursor, limit, size, using
        self._late = cursor.previous.in_progress
        self._parameters: dict[str, Any] = {
            "after": cursor.previous.xmax,
            "before": cursor.current.xmax,
            "previous": cursor.previous.text,
            "current": cursor.current.text,
            "late": self._late,
            "position": cursor.position,
            "shards": shards,
            "limit": limit,
            "size": size,
        }

    def first_page(self) -> WindowPage:
        """By transaction: all of the window is looked through, and its first rows are taken."""
        records, cut = self._page([_FIRST, _LATE] if self._late else [_FIRST], start=_NOWHERE)
        return WindowPage(records, last=not cut, reached=records[-1].position if records else 0)

    def next_page(self) -> WindowPage:
        """By position, a range at a time; those without rows, or with other shards' alone, are passed."""
        bounds = self._cursor.bounds
        if bounds is None:
            [found] = _rows(_BOUNDS, self._parameters, using=self._using)
            bounds = Bounds(*found)
        start = max(self._cursor.position, bounds.floor - 1)
        late = [_LATE] if self._late and start > self._cursor.position else []
        span = self._limit * SHARDS // len(self._parameters["shards"])
        while True:
            stop = start + span
            records, cut = self._page([_NEXT, *late], start=start, stop=stop)
            reached = records[-1].position if cut else stop
            if records or stop >= bounds.top:
                return WindowPage(
                    records, last=not cut and stop >= bounds.top, reached=reached, bounds=bounds
                )
            start, span, late = stop, span * STRIDE, []

    def _page(self, sources: list[str], **bounds: int) -> tuple[list[OutboxRecord], bool]:
        """The next rows, and whether there may be more of the same."""
        query = _PAGE.format(columns=columns_as_sent("sized"), rows=" UNION ALL ".join(sources))
        rows = _rows(query, {**self._parameters, **bounds}, using=self._using)
        records = [OutboxRecord._make(row) for row in rows]
        cut = len(records) == self._limit or sum(len(record.payload) for record in records) >= self._size
        return records, cut


def _rows(query: str, parameters: dict[str, Any], *, using: str) -> list[tuple[Any, ...]]:
    """Past Django's cursor, which has everything sent as text: payloads would come as hexadecimal digits."""
    connection = connections[using]
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as sql:
        sql.execute(query, parameters, prepare=False, binary=True)
        rows: list[tuple[Any, ...]] = sql.fetchall()
    return rows
