"""Every ten seconds each consumer's lag is kept, and looked at for alarms; by whoever comes first.

Instances of consumers do it beside their work, and the periodic task `outbox.sample_lag`, so that it goes on
when no instance runs.
"""

import logging
from datetime import UTC, datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from outbox import clock
from outbox.lag import PRESENT, Lag, lags
from outbox.partitions import LOCK_CLASS
from outbox.positions import Alarm, AlarmCause, LagSample, Member
from outbox.registry import all_consumers

SLOT = timedelta(seconds=10)
KEEP = timedelta(days=1)
# How much of what came in must have been processed, in how many seconds, and for how long an event may wait.
KEEPS_UP = 0.9
AWHILE = 50.0
PATIENCE = 5.0
_SAMPLING_LOCK = 3
_TRACES = 5_000

logger = logging.getLogger(__name__)

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
    """Keep a sample of every consumer of this database, unless there is one of these ten seconds.

    Returns whether it did. Waits for nobody: while another session is at it, this one leaves it to that.
    """
    at = _slot(clock.now(using=using))
    consumers = [consumer for consumer in all_consumers() if consumer.using == using]
    if not consumers or _is_kept(consumers[0].name, at, using):
        return False
    with transaction.atomic(using=using):
        with connections[using].cursor() as sql:
            sql.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LOCK_CLASS, _SAMPLING_LOCK])
            if not sql.fetchone()[0] or _is_kept(consumers[0].name, at, using):
                return False
            sql.execute(_RAISE_ENDS, [_TRACES])
        for lag in lags(consumers, using=using):
            _keep(lag, at, using)
            _raise_or_end_alarms(lag, using)
        _forget(at, using)
    return True


def _slot(now: datetime) -> datetime:
    """The beginning of these ten seconds."""
    start = datetime(2000, 1, 1, tzinfo=UTC)
    return now - (now - start) % SLOT


def _is_kept(consumer: str, at: datetime, using: str) -> bool:
    return LagSample.objects.using(using).filter(consumer=consumer, at=at).exists()


def _keep(lag: Lag, at: datetime, using: str) -> None:
    delays = [
        part.delay
        for part in lag.partitions
        if part.delay is not None and part.processed_at is not None and part.processed_at > lag.at - SLOT
    ]
    LagSample.objects.using(using).create(
        consumer=lag.consumer.name,
        at=at,
        events=lag.events,
        seconds=lag.seconds,
        delay=max(delays, default=None),
        produced=lag.produced,
        processed=lag.processed,
        members=len(lag.members),
    )


def _raise_or_end_alarms(lag: Lag, using: str) -> None:
    """Each change is logged once, by whoever makes it."""
    name, alarms = lag.consumer.name, Alarm.objects.using(using)
    before = {cause for cause, _ in lag.alarms}
    for cause, why in ((AlarmCause.LATE, _late(lag)), (AlarmCause.FALLING_BEHIND, _falls_behind(lag))):
        if why and cause not in before:
            alarms.create(consumer=name, cause=cause, since=lag.at)
            logger.warning("consumer %s %s", name, why)
        elif not why and cause in before:
            alarms.filter(consumer=name, cause=cause).delete()
            logger.info("consumer %s is no longer %s", name, cause.label.lower())


def _late(lag: Lag) -> str:
    """Why it is later than its limit; nothing when it is not."""
    recent = lag.at - SLOT
    delays = [part.delay or 0.0 for part in lag.partitions if (part.processed_at or recent) > recent]
    latest, limit = max([lag.seconds, *delays]), lag.sync_delay_limit
    if latest <= limit:
        return ""
    return f"is late by {latest:.1f} s, its limit is {limit:g} s; {lag.events} events wait in Kafka"


def _falls_behind(lag: Lag) -> str:
    """Why consumption is too slow for what is produced; nothing when it keeps up."""
    rates = lag.rates
    if (
        rates is None
        or rates.seconds < AWHILE
        or lag.seconds < PATIENCE
        or rates.out >= KEEPS_UP * rates.into
    ):
        return ""
    return f"falls behind: {rates.into:.1f} events a second come in, {rates.out:.1f} are processed"


def _forget(at: datetime, using: str) -> None:
    """Samples of yesterday, and instances that went without a word."""
    names = [consumer.name for consumer in all_consumers()]
    LagSample.objects.using(using).filter(consumer__in=names, at__lt=at - KEEP).delete()
    Member.objects.using(using).filter(seen_at__lt=at - 6 * PRESENT).delete()
