"""The relay's cursor: what one snapshot sees and the one before did not.

A cursor over a sequence skips the row whose transaction commits late. Two snapshots do not: a transaction
is in exactly one of the windows between consecutive snapshots, whenever it commits and however long it
took. The same idea drives PgQ (Skype's SkyTools). Positions order the rows of a window, and so of a key:
a key is locked before its event is numbered, so a later event of it has a higher position and is visible
in no snapshot that does not see the earlier one.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from django.db import connections
from psycopg.types.string import ByteaBinaryLoader

from outbox.context import Cause
from outbox.envelope import binary_headers
from outbox.kafka import Header
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
    """Where a window's rows lie, of whatever shard: shards that meet go on with one of their bounds.

    late   the position of the first late commit: a row of a transaction that `previous` lists as in progress
    floor  the position of the first other row
    top    above it there are none
    """

    late: int
    floor: int
    top: int


class OutboxRecord(NamedTuple):
    """An outbox row as the relay sends it: what goes into Kafka as it is, is bytes.

    hash  of the key, as Kafka's partitioner makes it; None without a key, and in rows of an earlier release
    """

    id: bytes
    position: int
    topic: str
    key: bytes | None
    hash: int | None
    number: int | None
    partition: int | None
    type: bytes
    source: bytes
    occurred_at: bytes
    correlation_id: bytes
    causation_id: bytes | None
    traceparent: bytes | None
    content_type: bytes
    payload: bytes

    def __str__(self) -> str:
        return f"{self.type.decode()} {self.id.decode()} of key {self.key_text}"

    @property
    def key_text(self) -> str | None:
        """The key as the database knows it."""
        return None if self.key is None else self.key.decode()

    @property
    def cause(self) -> Cause:
        """What entries of the log about it name."""
        return Cause(
            correlation_id=UUID(self.correlation_id.decode()),
            causation_id=UUID(self.id.decode()),
            traceparent=None if self.traceparent is None else self.traceparent.decode(),
            key=self.key_text,
        )

    def headers(self) -> list[Header]:
        """Its Kafka headers."""
        return binary_headers(
            self.id,
            self.source,
            self.type,
            self.occurred_at,
            self.key,
            self.number,
            self.correlation_id,
            self.causation_id,
            self.traceparent,
            self.content_type,
        )


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


# PostgreSQL writes them faster than Python does. A varchar is read as a str, see fetch().
_AS_TEXT = {
    **dict.fromkeys(("id", "correlation_id", "causation_id"), "{0}.{1}::text"),
    "topic": "{0}.{1}::varchar",
    "occurred_at": """to_char({0}.{1} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
}


_COLUMNS = ", ".join(OutboxRecord._fields)

# Transactions numbered since the previous snapshot are a range of the index on (txid, position); those that
# were in progress then are a place in it each. Without the filters PostgreSQL would go along the index on
# position to find the first one, through all that was ever sent.
_BOUNDS = """
SELECT min(position) FILTER (WHERE late), min(position) FILTER (WHERE NOT late), max(position + 0) FROM (
    SELECT position, false AS late FROM outbox_event
    WHERE txid >= %(after)s::xid8 AND txid < %(before)s::xid8 AND position > %(position)s
        AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
    UNION ALL
    SELECT position, true FROM outbox_event
    WHERE txid = ANY(%(late)s::xid8[]) AND position > %(position)s
) AS row"""
# Pages are ranges of positions: those of the index on position, which look at each row once in all, from
# where the window's rows lie; below that, late commits alone. Without an end to the range the planner may
# prefer to sort all the rest of the window for each page.
_ROWS = f"""
    (SELECT {_COLUMNS} FROM outbox_event
    WHERE position > %(start)s AND position <= %(stop)s AND shard = ANY(%(shards)s)
        AND pg_visible_in_snapshot(txid, %(current)s::pg_snapshot)
        AND NOT pg_visible_in_snapshot(txid, %(previous)s::pg_snapshot))"""
_LATE = f"""
    (SELECT {_COLUMNS} FROM outbox_event
    WHERE txid = ANY(%(late)s::xid8[]) AND position > %(late_start)s AND position <= %(late_stop)s
        AND shard = ANY(%(shards)s))"""
# Whole rows until their payloads reach %(size)s bytes, but one at least.
_PAGE = """
SELECT {columns} FROM (
    SELECT *, sum(octet_length(payload)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING)
        - octet_length(payload) AS before_it
    FROM (SELECT * FROM ({rows}) AS row ORDER BY position LIMIT %(limit)s) AS page
) AS sized WHERE before_it < %(size)s ORDER BY position"""


def snapshot(*, using: str) -> Snapshot:
    """What is committed now."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT pg_current_snapshot()::text")
        return Snapshot(sql.fetchone()[0])


def read_page(cursor: Cursor, *, shards: list[int], limit: int, size: int, using: str) -> WindowPage:
    """The window's next rows of these shards: at most `limit`, and about `size` bytes of payload.

    Costs what it returns. The first page of a window, and the first after a restart in the midst of one,
    cost a look at where all of its rows lie besides.
    """
    if cursor.current is None or cursor.current == cursor.previous:
        return WindowPage([], last=True)
    return _Question(cursor, shards=shards, limit=limit, size=size, using=using).next_page()


class _Question:
    """What is asked of one window for one page."""

    def __init__(self, cursor: Cursor, *, shards: list[int], limit: int, size: int, using: str) -> None:
        assert cursor.current is not None  # noqa: S101  (there is a window)
        self._cursor, self._limit, self._size, self._using = cursor, limit, size, using
        self._parameters: dict[str, Any] = {
            "after": cursor.previous.xmax,
            "before": cursor.current.xmax,
            "previous": cursor.previous.text,
            "current": cursor.current.text,
            # What is still in progress has nothing to be read yet, however much it has written.
            "late": sorted(set(cursor.previous.in_progress) - set(cursor.current.in_progress)),
            "position": cursor.position,
            "shards": shards,
            "limit": limit,
            "size": size,
        }

    def next_page(self) -> WindowPage:
        """By position, a range at a time; those without rows, or with other shards' alone, are passed."""
        bounds = self._cursor.bounds or self._bounds()
        if bounds is None:
            return WindowPage([], last=True)
        start = max(self._cursor.position, min(bounds.late, bounds.floor) - 1)
        span = self._limit * SHARDS // len(self._parameters["shards"])
        while True:
            stop = start + span
            records, cut = self._page(start, stop, bounds)
            if records or stop >= bounds.top:
                last = not cut and stop >= bounds.top
                reached = records[-1].position if cut else stop
                return WindowPage(records, last=last, reached=reached, bounds=bounds)
            start, span = stop, span * STRIDE

    def _bounds(self) -> Bounds | None:
        """None for a window without rows. Every position of the window was drawn before this is asked."""
        [(late, floor, top)] = fetch(_BOUNDS, self._parameters, using=self._using)
        if top is None:
            return None
        return Bounds(_NOWHERE if late is None else late, _NOWHERE if floor is None else floor, top)

    def _page(self, start: int, stop: int, bounds: Bounds) -> tuple[list[OutboxRecord], bool]:
        """The rows of a range, and whether it may have more than were taken."""
        # Late commits above the floor are found among the others.
        late_stop = min(stop, bounds.floor - 1)
        sources = [_ROWS] * (stop >= bounds.floor) + [_LATE] * (bounds.late <= late_stop > start)
        if not sources:
            return [], False
        query = _PAGE.format(columns=columns_as_sent("sized"), rows=" UNION ALL ".join(sources))
        ranges = {
            "start": max(start, bounds.floor - 1),
            "stop": stop,
            "late_start": start,
            "late_stop": late_stop,
        }
        rows = fetch(query, {**self._parameters, **ranges}, using=self._using)
        records = [OutboxRecord._make(row) for row in rows]
        cut = len(records) == self._limit or sum(len(record.payload) for record in records) >= self._size
        return records, cut


def fetch(
    query: str, parameters: dict[str, Any], *, using: str, prepare: bool = False
) -> list[tuple[Any, ...]]:
    """Rows with text as bytes, which is what Kafka takes, and varchar as str.

    Past Django's cursor, which has everything sent as text: payloads would come as hexadecimal digits.
    """
    connection = connections[using]
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as sql:
        sql.adapters.register_loader("text", ByteaBinaryLoader)
        sql.execute(query, parameters, prepare=prepare, binary=True)
        rows: list[tuple[Any, ...]] = sql.fetchall()
    return rows
