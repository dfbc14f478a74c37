"""Dropping weeks of the outbox that nobody needs any more, without holding up anybody who publishes."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from outbox import clock
from outbox.errors import NotInTransaction, PruningUnderWay
from outbox.ids import lowest_id
from outbox.keys import SHARDS
from outbox.partitions import LOCK_CLASS, Span, attaching, weeks_of
from outbox.registry import Consumer, all_consumers
from outbox.sessions import require_own

logger = logging.getLogger(__name__)

EVENTS, TRACES = "outbox_event", "outbox_publication"
_PRUNING_LOCK = 2
# Clocks and ids may differ from the time at which a transaction began by so much.
SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Week:
    """A week of the outbox, and why it is kept; None when it was dropped, or would be."""

    span: Span
    kept: str | None


def prune_events(
    *,
    keep: timedelta,
    unprocessed_by: Collection[str] = (),
    dry_run: bool = False,
    using: str = DEFAULT_DB_ALIAS,
) -> Iterator[Week]:
    """Drop the weeks that ended `keep` ago or earlier, of which everything has been published and processed.

    A week is detached concurrently, which waits for nobody who publishes and has nobody wait, then looked at
    once more, for what may have been committed meanwhile, and dropped. Yields every such week.

    unprocessed_by  consumers that need not have processed it: those that are gone, or came later

    Raises NotInTransaction when called in one, PruningUnderWay, PooledDatabase.
    """
    if connections[using].in_atomic_block:
        raise NotInTransaction
    with sole_pruner(using):
        finish_detaching(EVENTS, TRACES, using=using)
        before = clock.now(using=using) - keep
        for span in weeks_of(EVENTS, using=using):
            if span.end > before:
                break
            kept = _still_open(span, using) or _needed(span, unprocessed_by, using)
            if kept is None and not dry_run:
                kept = _drop_events(span, unprocessed_by, using)
            yield Week(span, kept)
        if not dry_run:
            _drop_traces(using)


@contextmanager
def sole_pruner(using: str) -> Iterator[None]:
    """Raises PruningUnderWay when another session prunes. The lock ends with the session, at the latest."""
    require_own(using=using)
    numbers = [LOCK_CLASS, _PRUNING_LOCK]
    [(alone,)] = ask(using, "SELECT pg_try_advisory_lock(%s, %s)", numbers)
    if not alone:
        raise PruningUnderWay
    try:
        yield
    finally:
        ask(using, "SELECT pg_advisory_unlock(%s, %s)", numbers)


def _still_open(span: Span, using: str) -> str | None:
    """Whoever may yet commit an event of the week: a relay does not see a week that is being detached.

    Of other roles' sessions PostgreSQL tells pg_read_all_stats alone.
    """
    [(count,)] = ask(
        using,
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND xact_start < %s)"
        " + (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())",
        [span.end + SKEW],
    )
    return f"{count} transactions are open that may have begun before its end" if count else None


def _needed(span: Span, but: Collection[str], using: str) -> str | None:
    return _unpublished(span, using) or _held(span, using) or _unprocessed(span, but, using)


# A shard without a row has yet to be relayed.
_UNPUBLISHED = """
SELECT count(*) FROM generate_series(0, {shards} - 1) AS every (one)
LEFT JOIN outbox_shard AS shard ON shard.shard = every.one CROSS JOIN LATERAL (
    SELECT coalesce(shard.previous, '3:3:'::pg_snapshot) AS snapshot
) AS sent CROSS JOIN LATERAL (
    SELECT FROM {table} AS event WHERE event.txid >= pg_snapshot_xmin(sent.snapshot)
        AND event.shard = every.one AND NOT pg_visible_in_snapshot(event.txid, sent.snapshot) LIMIT 1000
) AS found
"""


def _unpublished(span: Span, using: str) -> str | None:
    """What a snapshot sees has been sent; what is older than its oldest transaction need not be looked at."""
    [(count,)] = ask(using, _UNPUBLISHED.format(table=span.name(EVENTS), shards=SHARDS))
    return f"{count} events are yet to be published" if count else None


def _held(span: Span, using: str) -> str | None:
    [(count,)] = ask(
        using,
        "SELECT count(*) FROM outbox_refusal WHERE event_id >= %s AND event_id < %s",
        [lowest_id(span.start), lowest_id(span.end)],
    )
    return f"{count} events are held, since Kafka refused them" if count else None


_UNPROCESSED = """
SELECT count(*) FROM (
    SELECT FROM {table} AS event WHERE event.topic = ANY(%(topics)s) AND NOT EXISTS (
        SELECT FROM outbox_inbox AS entry WHERE entry.event_id = event.id AND entry.consumer = %(consumer)s
    ) LIMIT 1000
) AS found
"""


def _unprocessed(span: Span, but: Collection[str], using: str) -> str | None:
    for consumer in all_consumers():
        if consumer.name in but:
            continue
        if consumer.using != using:
            return f"the inbox of {consumer.name} is in another database"
        count = _unprocessed_by(consumer, span, using)
        if count:
            return f"{count} events are yet to be processed by {consumer.name}"
    return None


def _unprocessed_by(consumer: Consumer, span: Span, using: str) -> int:
    [(count,)] = ask(
        using,
        _UNPROCESSED.format(table=span.name(EVENTS)),
        {"topics": list(consumer.topics), "consumer": consumer.name},
    )
    return int(count)


def _drop_events(span: Span, but: Collection[str], using: str) -> str | None:
    """Why the week had to be kept after all; None when it was dropped."""
    detach(EVENTS, span, using)
    late = _needed(span, but, using)
    if late is not None:
        # Committed after the first look, by a transaction that had been open all the while.
        run(using, attaching(EVENTS, span))
        return late
    run(using, f"DROP TABLE {span.name(EVENTS)}")
    logger.info("dropped %s", span.name(EVENTS))
    return None


def _drop_traces(using: str) -> None:
    """Of the weeks before all events: they tell nobody anything."""
    first = weeks_of(EVENTS, using=using)[0]
    for span in weeks_of(TRACES, using=using):
        if span.start < first.start:
            detach(TRACES, span, using)
            run(using, f"DROP TABLE {span.name(TRACES)}")


def detach(table: str, span: Span, using: str) -> None:
    run(using, f"ALTER TABLE {table} DETACH PARTITION {span.name(table)} CONCURRENTLY")


def finish_detaching(*tables: str, using: str) -> None:
    """Of a run that was killed while it waited. What was detached is attached again, and looked at anew."""
    for table in tables:
        pending = ask(
            using,
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = %s::regclass AND inhdetachpending",
            [table],
        )
        for (name,) in pending:
            run(using, f"ALTER TABLE {table} DETACH PARTITION {name} FINALIZE")
        for span in _left_detached(table, using):
            run(using, attaching(table, span))


def _left_detached(table: str, using: str) -> list[Span]:
    """Weeks of a table that are partitions of it no longer."""
    rows = ask(
        using,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        " AND relname ~ ('^' || %s || '_p[0-9]{8}$') AND NOT relispartition ORDER BY 1",
        [table],
    )
    return [Span.named(name) for (name,) in rows]


def ask(using: str, question: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as sql:
        sql.execute(question, parameters)
        rows: list[tuple[Any, ...]] = sql.fetchall()
    return rows


def run(using: str, statement: str) -> None:
    with connections[using].cursor() as sql:
        sql.execute(statement)
