"""How fast the events page opens: `.venv/bin/python -m benchmarks.pages`, on a database of its own.

Fills the outbox of the last two weeks with events, their publications and what three consumers made of them,
then opens the page as a viewer does, with and without filters, the kindest and the unkindest. Prints
milliseconds of the whole answer and of the database, the pages of eight kilobytes that it looked at, and the
ratio to the same page over an empty outbox. Each is the median of several runs.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from benchmarks.rows import KEYS, _weeks, new_keys
from outbox.partitions import Span, attaching, make_partitions

RUNS = 5
TABLES = ("outbox_event", "outbox_publication", "outbox_inbox")
CONSUMERS = ("analytics", "loyalty", "orders")
MERCHANTS = 50
CORRELATION = UUID("01900000-0000-7000-8000-000000000001")

# Every second event is of one key, and every fourth of one correlation; one in 250,000 is a refund. The
# payload is half a kilobyte.
_EVENTS = """
INSERT INTO {events} (id, shard, topic, key, hash, number, type, source, occurred_at, correlation_id,
    content_type, payload, owner)
SELECT id, shard, CASE WHEN n %% 10 = 7 THEN 'orders' ELSE 'payments' END, key, hash, n + 1,
    CASE WHEN n %% 250000 = 77 THEN 'payments.PaymentRefunded.v1'
        WHEN n %% 10 = 7 THEN 'orders.OrderCreated.v1'
        WHEN n %% 10 < 5 THEN 'payments.PaymentRequested.v1' ELSE 'payments.PaymentValidated.v1' END,
    '/bench', moment, CASE WHEN n %% 4 = 1 THEN %(correlation)s ELSE id END, 'application/json', %(payload)s,
    '01900000-0000-7000-9000-' || lpad((n %% %(merchants)s)::text, 12, '0')
FROM (
    SELECT n, moment, (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7'
        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid AS id
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
        LATERAL (SELECT %(start)s::timestamptz + (n - %(first)s) * %(step)s::interval AS moment) AS at
) AS made JOIN bench_key ON place = CASE WHEN n %% 2 = 0 THEN 0 ELSE n %% %(keys)s END
ORDER BY n
"""
_PUBLICATIONS = """
INSERT INTO {publications} (event_id, partition, "offset", published_at)
SELECT id, hash & 3, position, occurred_at + interval '4 ms' FROM {events}
"""
_INBOX = """
INSERT INTO {inbox} (event_id, consumer, generation, topic, partition, "offset", key, number, type, outcome,
    occurred_at, processed_at)
SELECT id, consumer, 1, topic, hash & 3, position, key, number, type, 'processed', occurred_at,
    occurred_at + interval '9 ms'
FROM {events}, unnest(%(consumers)s::text[]) AS consumer ORDER BY position, consumer
"""


def fill(connection: psycopg.Connection, count: int) -> None:
    """So many events of the last two weeks, all processed; what was in these weeks is gone."""
    [(now,)] = connection.execute("SELECT now()").fetchall()
    new_keys(connection)
    # It holds all time before the first week; it is made again for what is before these.
    connection.execute("DROP TABLE IF EXISTS outbox_inbox_past")
    first = 0
    for span, start, share in _weeks(now):
        of_week = round(count * share)
        _fill(connection, span, first=first, count=of_week, start=start, end=min(span.end, now))
        first += of_week
    make_partitions()
    connection.execute(
        "UPDATE outbox_shard SET previous = pg_current_snapshot(), current = NULL, position = 0"
    )
    connection.execute(f"VACUUM ANALYZE {', '.join(TABLES)}")
    connection.execute("CHECKPOINT")


def _fill(
    connection: psycopg.Connection, span: Span, *, first: int, count: int, start: Any, end: Any
) -> None:
    for table in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {span.name(table)}")
        connection.execute(
            f"CREATE TABLE {span.name(table)} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
    names = {
        "events": span.name(TABLES[0]),
        "publications": span.name(TABLES[1]),
        "inbox": span.name(TABLES[2]),
    }
    given = {
        "first": first,
        "last": first + count - 1,
        "start": start,
        "step": (end - start - timedelta(seconds=1)) / max(count, 1),
        "keys": KEYS,
        "merchants": MERCHANTS,
        "correlation": CORRELATION,
        "payload": b'{"filler":"' + b"x" * 497 + b'"}',
        "consumers": [*CONSUMERS],
    }
    for statement in (_EVENTS, _PUBLICATIONS, _INBOX):
        connection.execute(statement.format(**names), given)
    for table in TABLES:
        connection.execute(attaching(table, span))
