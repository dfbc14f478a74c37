"""Dropping weeks of the inbox of which Kafka will deliver nothing again in the ordinary course of things."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections

from outbox import clock
from outbox.config import Config, config
from outbox.consumer import group_of
from outbox.errors import NotInTransaction, WindowTooShort
from outbox.forgetting import LEAST_WINDOW
from outbox.ids import lowest_id
from outbox.kafka import Cluster
from outbox.models import GenerationState
from outbox.partitions import Span, make_partitions, weeks_of
from outbox.pruning import EVENTS, Week, ask, detach, finish_detaching, run, sole_pruner
from outbox.registry import Consumer, all_consumers

INBOX, PAST = "outbox_inbox", "outbox_inbox_past"

_OPEN = {
    "events wait": "outbox_waiting_event WHERE true",
    "dead letters are open": "outbox_dead_letter WHERE state = 'open'",
}

logger = logging.getLogger(__name__)


def prune_inbox(
    *,
    window: timedelta,
    dry_run: bool = False,
    using: str = DEFAULT_DB_ALIAS,
    settings: Config | None = None,
) -> Iterator[Week]:
    """Drop the oldest weeks of the inbox, up to the first that is still needed. Yields every such week.

    A week goes when every consumer has moved past its end by the window, in every partition of its topics;
    when the outbox has dropped it, too; and when nothing of it waits or is a dead letter. What happened in it
    and comes again becomes a dead letter (ForgottenEvent). Consumers go on meanwhile.

    Raises NotInTransaction when called in one, WindowTooShort, PruningUnderWay, PooledDatabase, BrokerError.
    """
    if window < LEAST_WINDOW:
        raise WindowTooShort
    if connections[using].in_atomic_block:
        raise NotInTransaction
    cluster = Cluster((settings or config()).kafka)
    with sole_pruner(using):
        _finish(using)
        for span in weeks_of(INBOX, using=using):
            moment = span.end + window
            if moment > clock.now(using=using):
                break
            kept = _needed(span, using) or _behind(cluster, moment, using)
            if kept is None and not dry_run:
                _drop(span, using)
            yield Week(span, kept)
            if kept is not None:
                break  # what is forgotten is one span of time


def _needed(span: Span, using: str) -> str | None:
    if span in weeks_of(EVENTS, using=using):
        return "the outbox still has its events"
    bounds = [lowest_id(span.start), lowest_id(span.end)]
    for what, rows in _OPEN.items():
        counting = f"SELECT count(*) FROM {rows} AND event_id >= %s AND event_id < %s"
        [(count,)] = ask(using, counting, bounds)
        if count:
            return f"{count} {what}"
    return None


def _behind(cluster: Cluster, moment: datetime, using: str) -> str | None:
    """Which consumer has yet to come to this moment in Kafka's time, or is being rebuilt."""
    counts = cluster.partition_counts()
    for consumer in all_consumers():
        if consumer.using != using:
            continue
        if _is_rebuilt(consumer):
            return f"{consumer.name} is being rebuilt"
        places = [(topic, part) for topic in consumer.topics for part in range(counts.get(topic, 0))]
        reached = {**cluster.log_starts(places), **cluster.committed(group_of(consumer.name), places)}
        ends = cluster.watermarks(places)
        for place, wanted in cluster.first_since(places, moment).items():
            if reached[place] < (ends[place] if wanted is None else wanted):
                return f"{consumer.name} has yet to come to {moment:%Y-%m-%d} in {place[0]}/{place[1]}"
    return None


def _is_rebuilt(consumer: Consumer) -> bool:
    rows = ask(
        consumer.using,
        "SELECT count(*) FROM outbox_generation WHERE consumer = %s AND state = %s",
        [consumer.name, GenerationState.BUILDING.value],
    )
    return rows != [(0,)]


def _drop(span: Span, using: str) -> None:
    """First say what is forgotten, then forget it."""
    _remember_forgetting(span, using)
    detach(INBOX, span, using)
    _remember_forgetting(span, using)  # of whom wrote his first row of that week in between
    run(using, f"DROP TABLE {span.name(INBOX)}")
    # So that old events of new consumers and new generations have a place.
    run(using, f"ALTER TABLE {INBOX} DETACH PARTITION {PAST} CONCURRENTLY")
    _attach_past(using)
    logger.info("dropped %s", span.name(INBOX))


def _remember_forgetting(span: Span, using: str) -> None:
    with connections[using].cursor() as sql:
        sql.execute(
            "INSERT INTO outbox_forgotten (consumer, generation, since, until)"
            f" SELECT DISTINCT consumer, generation, %s::timestamptz, %s::timestamptz FROM {span.name(INBOX)}"
            " ON CONFLICT (consumer, generation) DO UPDATE SET until = EXCLUDED.until",
            [span.start, span.end],
        )


def _attach_past(using: str) -> None:
    """Detached, the past was given a constraint of its old bound."""
    constraints = ask(
        using,
        "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c' AND conname NOT IN"
        " (SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass)",
        [PAST, INBOX],
    )
    for (name,) in constraints:
        run(using, f'ALTER TABLE {PAST} DROP CONSTRAINT "{name}"')
    make_partitions(using=using)


def _finish(using: str) -> None:
    """Of a run that was killed: a week left detached is attached again, and the past as well."""
    finish_detaching(INBOX, using=using)
    [(attached,)] = ask(using, "SELECT relispartition FROM pg_class WHERE oid = %s::regclass", [PAST])
    if not attached:
        _attach_past(using)
