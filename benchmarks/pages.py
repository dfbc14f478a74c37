"""How fast the events page opens: `.venv/bin/python -m benchmarks.pages`, on a database of its own.

Fills the outbox of the last two weeks with events, their publications and what three consumers made of them,
then opens the page as a viewer does, with and without filters, the kindest and the unkindest. Prints
milliseconds of the whole answer, its ratio to the same page over an empty outbox, milliseconds of the search
alone and the blocks of eight kilobytes that this looks at. Each is the best of several runs:
others on the machine only add to it.
"""

import argparse
import re
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import psycopg

from benchmarks.bench import Bench, running
from benchmarks.rows import KEYS, new_keys, weeks
from benchmarks.volumes import statements
from outbox.partitions import Span, attaching, make_partitions

RUNS = 7
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
    for span, start, share in weeks(now):
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


def questions(connection: psycopg.Connection) -> dict[str, dict[str, str]]:
    """What the page is asked, by name."""
    [(hot,)] = connection.execute("SELECT key FROM bench_key WHERE place = 0").fetchall()
    [(other, one)] = connection.execute(
        "SELECT key, id FROM outbox_event WHERE key <> %s ORDER BY id LIMIT 1", [hot]
    ).fetchall()
    [(since, until)] = connection.execute(
        "SELECT now() - interval '6 days', now() - interval '5 days'"
    ).fetchall()
    day = {"from": f"{since:%Y-%m-%dT%H:%M:%SZ}", "to": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
    rare = "payments.PaymentRefunded.v1"
    return {
        "all": {},
        "a type, common": {"type": "payments.PaymentValidated.v1"},
        "a type, four in a million": {"type": rare},
        "a key of half of all": {"q": hot},
        "that key, a rare type": {"q": hot, "type": rare},
        "a key of a thousandth": {"q": other},
        "an id": {"q": str(one)},
        "a correlation of a quarter": {"q": str(CORRELATION)},
        "processed in orders": {"state": "orders:processed"},
        "pending in orders: none": {"state": "orders:pending"},
        "pending anywhere: some": {"state": ":pending"},
        "dead letters: none": {"state": ":dead"},
        "waits for the relay: none": {"state": "waiting"},
        "a day": day,
        "a day, a rare type": {**day, "type": rare},
    }


def measure(bench: Bench, count: int) -> None:
    """Print a table of the questions."""
    from accounts.services import ensure_user
    from dashboard.events.form import EventsFilter
    from dashboard.events.search import search

    user = ensure_user(username="bench", password=None, groups=["viewer"])
    new_keys(bench.connection)
    empty = _opened({}, user)
    print(f"an empty outbox: {empty:.0f} ms")  # noqa: T201
    began = time.perf_counter()
    fill(bench.connection, count)
    print(f"{count:,} events, all processed by three consumers, in {time.perf_counter() - began:.0f} s\n")  # noqa: T201
    print(f"{'':28}{'answer, ms':>12}{'of empty':>10}{'search, ms':>12}{'blocks':>9}{'events':>8}")  # noqa: T201
    for name, asked in questions(bench.connection).items():
        answered = _opened(asked, user)
        form = EventsFilter(asked, zone="UTC")
        assert form.is_valid(), form.errors  # noqa: S101
        look = partial(search, form.question)
        searched = min(_milliseconds(look) for _ in range(RUNS))
        blocks, shown = _blocks(look)
        print(f"{name:28}{answered:12.0f}{answered / empty:10.1f}{searched:12.0f}{blocks:9,}{shown:8}")  # noqa: T201


def _opened(asked: dict[str, str], user: Any) -> float:
    """Milliseconds of the whole answer, as a browser without a connection to spare gets it."""
    from django.test import Client

    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    address = f"/events/?{urlencode(asked)}"

    def open_page() -> None:
        answer = client.get(address)
        assert answer.status_code == 200, answer.content[:500]  # noqa: S101

    return min(_milliseconds(open_page) for _ in range(RUNS))


def _milliseconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1_000


def _blocks(work: Callable[[], Any]) -> tuple[int, int]:
    """How many blocks of eight kilobytes the statements about the events look at; and what was found."""
    from django.db import connection

    from dashboard.events.search import indexes_alone

    with statements(connection) as executed:
        page = work()
    looked = 0
    with indexes_alone(), connection.cursor() as cursor:
        for sql, parameters in executed:
            if sql.startswith("SELECT") and "set_config" not in sql:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {sql}", parameters)
                found = re.search(r"Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?", str(cursor.fetchall()))
                looked += sum(int(number or 0) for number in found.groups()) if found else 0
    return looked, len(page.rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the events page opens.")
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    with running() as bench:
        measure(bench, options.events)


if __name__ == "__main__":
    main()
