"""Very many events, made by the server itself: millions of them, where Python would take hours."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import uuid4

import psycopg

from benchmarks.bench import PAYLOAD
from outbox.keys import hash_of, shard_of
from outbox.partitions import Span, attaching, spans

# Of a transaction of old rows; an outbox gets its rows from many.
CHUNK = 10_000
KEYS = 1_000
OLD = timedelta(days=14)

_KEYS = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS bench_key (place int PRIMARY KEY, key text, hash int, shard int)"
)
# A volatile id is made once for both of its columns; positions are drawn after sorting.
_INSERT = """
INSERT INTO {} (id, shard, topic, key, hash, number, type, source, occurred_at, correlation_id, content_type,
    payload)
SELECT id, shard, 'payments', key, hash, n / %(keys)s + 1, 'bench.Written.v1', '/bench', moment, id,
    'application/json', %(payload)s
FROM (
    SELECT n, moment, (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7'
        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid AS id
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
        LATERAL (SELECT %(start)s::timestamptz + n * %(step)s::interval AS moment) AS at
) AS made JOIN bench_key ON place = n %% %(keys)s
ORDER BY n
"""
_TRACES = """
INSERT INTO {} (event_id, partition, "offset", published_at)
SELECT id, hash % 4, position, occurred_at FROM {}
"""


def new_keys(connection: psycopg.Connection) -> None:
    """Have what is inserted next be of keys of its own."""
    names = [str(uuid4()) for _ in range(KEYS)]
    connection.execute(_KEYS)
    connection.execute("TRUNCATE bench_key")
    connection.execute(
        "INSERT INTO bench_key SELECT ordinality - 1, key, hash, shard"
        " FROM unnest(%s::text[], %s::int[], %s::int[]) WITH ORDINALITY AS one (key, hash, shard)",
        [names, [hash_of(name) for name in names], [shard_of(name) for name in names]],
    )


def insert(
    connection: psycopg.Connection,
    *,
    count: int,
    start: datetime,
    step: timedelta = timedelta(0),
    table: str = "outbox_event",
    chunk: int = CHUNK,
) -> None:
    """So many rows, in statements of `chunk` each; the first happened at `start`, the next a step later."""
    new_keys(connection)
    for first in range(0, count, chunk):
        connection.execute(
            _INSERT.format(table),
            {
                "keys": KEYS,
                "payload": PAYLOAD,
                "first": first,
                "last": min(first + chunk, count) - 1,
                "start": start,
                "step": step,
            },
        )


def insert_old(connection: psycopg.Connection, count: int) -> None:
    """So many rows of the last days, and their traces, which all relays have behind them.

    Weeks are filled before they are attached: indexes are then built at once. What was in them is gone.
    """
    [(now,)] = connection.execute("SELECT now()").fetchall()
    for span, start, share in weeks(now):
        _fill(connection, span, start=start, end=min(span.end, now), count=round(count * share))
    connection.execute(
        "UPDATE outbox_shard SET previous = pg_current_snapshot(), current = NULL, position = 0"
    )
    connection.execute("VACUUM ANALYZE outbox_event, outbox_publication")
    # Its writing is not to meet what is measured next.
    connection.execute("CHECKPOINT")


def weeks(now: datetime) -> Iterator[tuple[Span, datetime, float]]:
    """Each week's part of the last days: its beginning, and its share."""
    for span in spans(since=now - OLD, until=now):
        start = max(span.start, now - OLD)
        yield span, start, (min(span.end, now) - start) / OLD


def _fill(connection: psycopg.Connection, span: Span, *, start: datetime, end: datetime, count: int) -> None:
    tables = ("outbox_event", "outbox_publication")
    events, traces = (span.name(table) for table in tables)
    for table in tables:
        connection.execute(f"DROP TABLE IF EXISTS {span.name(table)}")
        connection.execute(
            f"CREATE TABLE {span.name(table)} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
    step = (end - start) / max(count, 1)
    insert(connection, count=count, start=start, step=step, table=events)
    connection.execute(_TRACES.format(traces, events))
    for table in tables:
        connection.execute(attaching(table, span))
