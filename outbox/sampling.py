"""Every ten seconds each consumer's lag is kept, and the system looked at for alarms; by whoever comes first.

Instances of consumers do it beside their work, and the periodic task `outbox.sample_lag`, so that it goes on
when no instance runs.
"""

from datetime import UTC, datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from outbox import clock
from outbox.alerts.checking import WATCH_LOCK, check, checked_at
from outbox.alerts.checks import ask_kafka
from outbox.alerts.heartbeat import away_since
from outbox.alerts.sending import send_beside
from outbox.lag import SLOT, Lag, lags
from outbox.members import PRESENT
from outbox.partitions import LOCK_CLASS
from outbox.positions import LagSample, Member
from outbox.registry import all_consumers

KEEP = timedelta(days=1)
_TRACES = 5_000

# Only what was traced after a reader told where the partition ends: a topic that was made anew begins again.
_RAISE_ENDS = """
WITH traced AS (
    SELECT event.topic, trace.partition, trace."offset" + 1 AS next_offset, trace.published_at
    FROM (SELECT * FROM outbox_publication ORDER BY event_id DESC LIMIT %s) AS trace
    JOIN outbox_event AS event ON event.id = trace.event_id
), later AS (
    SELECT traced.topic, traced.partition, max(traced.next_offset) AS next_offset,
        max(traced.published_at) AS told_at
    FROM traced LEFT JOIN outbox_partition_end AS known USING (topic, partition)
    WHERE known.told_at IS NULL OR traced.published_at > known.told_at GROUP BY 1, 2
)
INSERT INTO outbox_partition_end AS known (topic, partition, next_offset, told_at)
SELECT topic, partition, next_offset, told_at FROM later ORDER BY topic, partition
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset
    WHERE known.next_offset < EXCLUDED.next_offset
"""


def sample_when_due(*, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Keep a sample of every consumer of this database and look for alarms, unless these 10 s have one.

    Returns whether it did. Waits for nobody: while another session is at it, this one leaves it to that.
    """
    at = _slot(clock.now(using=using))
    consumers = [consumer for consumer in all_consumers() if consumer.using == using]
    names = [consumer.name for consumer in consumers]
    if _is_done(names, at, using):
        return False
    away = list(ask_kafka())
    with transaction.atomic(using=using):
        with connections[using].cursor() as sql:
            sql.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, WATCH_LOCK])
            if not sql.fetchone()[0] or _is_done(names, at, using):
                return False
            sql.execute(_RAISE_ENDS, [_TRACES])
        found = lags(consumers, using=using) if consumers else []
        for lag in found:
            _keep(lag, at, using)
        check(found, found_before=away, using=using)
        _forget(at, using)
    if away_since(at=clock.now(using=using), using=using):
        send_beside(using=using)  # a task does it otherwise: of its absence people are told all the same
    return True


def _slot(now: datetime) -> datetime:
    """The beginning of these ten seconds."""
    start = datetime(2000, 1, 1, tzinfo=UTC)
    return now - (now - start) % SLOT


def _is_done(consumers: list[str], at: datetime, using: str) -> bool:
    if consumers:
        return LagSample.objects.using(using).filter(consumer=consumers[0], at=at).exists()
    checked = checked_at(using=using)
    return checked is not None and checked >= at


def _keep(lag: Lag, at: datetime, using: str) -> None:
    """Its delay is told by the instances, until there is another one (outbox/reporting.py)."""
    LagSample.objects.using(using).create(
        consumer=lag.consumer.name,
        at=at,
        events=lag.events,
        seconds=lag.seconds,
        produced=lag.produced,
        processed=lag.processed,
        members=len(lag.members),
    )


def _forget(at: datetime, using: str) -> None:
    """Samples of yesterday, and instances that went without a word."""
    names = [consumer.name for consumer in all_consumers()]
    LagSample.objects.using(using).filter(consumer__in=names, at__lt=at - KEEP).delete()
    Member.objects.using(using).filter(seen_at__lt=at - 6 * PRESENT).delete()
