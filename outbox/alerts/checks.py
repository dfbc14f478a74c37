"""Looks at the system, and says what is wrong. Each question is answered by an index or a handful of rows."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Count, Min

from outbox.alerts.causes import Cause, Severity, severity_of
from outbox.alerts.heartbeat import away_since
from outbox.alerts.options import Alerts
from outbox.config import config
from outbox.consumer_models import LostStretch
from outbox.kafka import BrokerError, Cluster
from outbox.lag import Lag
from outbox.lease import members
from outbox.models import Refusal
from outbox.partitions import days_ahead, weeks_of
from outbox.pausing import ITSELF
from outbox.positions import AlarmCause
from outbox.unpublished import oldest_unpublished

# How much of what came in must have been processed, in how many seconds, and for how long an event may wait.
KEEPS_UP = 0.9
AWHILE = 50.0
PATIENCE = 5.0
# Of more than so many nobody needs the exact number.
MANY = 1_000
# Partitions exist for 14 days and more, made every hour: fewer means that this has failed for days.
DAYS_AHEAD = 7.0
# An idle relay's question costs 0.2 ms on one partition, and 24 ms over 100.
WEEKS = 16
# What Kafka deleted unread is alarming for so long: nothing brings it back.
LOST_FOR = timedelta(days=1)
KAFKA_TIMEOUT = 2.0
# PostgreSQL refuses to write at 2.1 billion; it should have cleaned up at 0.2 billion.
TRANSACTIONS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is wrong.

    since          None where only this look has shown it
    many           how many events, keys or stretches, MANY at most; 0 where there is nothing to count
    follows        the cause of something else that is wrong, or was meant; as long as it does nobody is told
    unknown_since  since when nobody knows whether it is still so; None while that is known
    """

    cause: Cause
    said: str
    subject: str = ""
    since: datetime | None = None
    many: int = 0
    follows: Cause | None = None
    unknown_since: datetime | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return severity_of(self.cause)


@dataclass(frozen=True, slots=True)
class Root:
    """What makes a consumer late: an alarm of its own, or a pause; and the words that say so."""

    cause: Cause
    words: str


def look(
    lags: Collection[Lag], *, at: datetime, options: Alerts, using: str, kafka_is_away: bool = False
) -> Iterator[Found]:
    """All that is wrong in this database, and with the consumers whose lags these are."""
    yield from _tasks(at, using)
    relays = list(_relays(at, options, using, kafka_is_away=kafka_is_away))
    yield from relays
    yield from _refused(using)
    yield from _partitions(using)
    yield from _wraparound(using)
    if lags:
        root = Root(Cause.KAFKA_AWAY, "Kafka does not answer") if kafka_is_away else None
        unsent = [Root(one.cause, "what is late waits in the outbox") for one in relays]
        yield from _consumers(lags, at, options, using, root=root, unsent=next(iter(unsent), None))


def ask_kafka() -> Iterator[Found]:
    """Whether Kafka is away, which nobody else would notice while there is nothing to send and to read.

    It may take KAFKA_TIMEOUT seconds to say: not to be asked in a transaction.
    """
    try:
        Cluster(config().kafka, timeout=KAFKA_TIMEOUT).partition_counts()
    except BrokerError as error:
        yield Found(Cause.KAFKA_AWAY, f"Kafka does not answer: {error}.")


def _tasks(at: datetime, using: str) -> Iterator[Found]:
    if since := away_since(at=at, using=using):
        said = f"No periodic task has run for {_age(at - since)}: Celery's worker or its beat is away."
        yield Found(Cause.NO_TASKS, said, since=since)


def _relays(at: datetime, options: Alerts, using: str, *, kafka_is_away: bool) -> Iterator[Found]:
    waiting = oldest_unpublished(using=using)
    oldest = min((one.waits_since for one in waiting.values()), default=None)
    waits = "" if oldest is None else f"the oldest event in the outbox has waited for {_age(at - oldest)}"
    if not members(seconds=config().lease, using=using):
        # Another database than the first may hold consumers, and no outbox that is used.
        if oldest is not None or using == DEFAULT_DB_ALIAS:
            yield Found(Cause.NO_RELAY, f"No relay runs: {waits or 'what is published now will wait'}.")
    elif oldest is not None and (at - oldest).total_seconds() > options.backlog:
        topics = ", ".join(sorted(waiting))
        said = f"A relay runs, and {waits} ({topics})."
        yield Found(Cause.BACKLOG, said, since=oldest, follows=Cause.KAFKA_AWAY if kafka_is_away else None)


def _refused(using: str) -> Iterator[Found]:
    rows = Refusal.objects.using(using).order_by()[:MANY].values("topic", "refused_at")
    held: dict[str, list[datetime]] = {}
    for row in rows:
        held.setdefault(row["topic"], []).append(row["refused_at"])
    for topic, moments in sorted(held.items()):
        said = f"{_count(len(moments), 'event')} of {topic} are held: Kafka refused them, or one before them."
        yield Found(Cause.REFUSED, said, topic, min(moments), len(moments))


def _partitions(using: str) -> Iterator[Found]:
    if (days := days_ahead(using=using)) < DAYS_AHEAD:
        yield Found(
            Cause.PARTITIONS,
            f"Partitions exist for the next {days:.1f} days only; without one nothing can be published.",
        )
    for cause, table in ((Cause.OUTBOX_WEEKS, "outbox_event"), (Cause.INBOX_WEEKS, "outbox_inbox")):
        weeks = weeks_of(table, using=using)
        if (ahead := len(weeks)) > WEEKS:
            said = (
                f"{table} has {ahead} weeks, since {weeks[0].start:%Y-%m-%d}; more than {WEEKS} slow it down."
            )
            yield Found(cause, said)


def _wraparound(using: str) -> Iterator[Found]:
    [(age,)] = _ask(using, "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    if age > TRANSACTIONS:
        yield Found(
            Cause.WRAPAROUND,
            f"The oldest transaction id is {age:,} transactions old; PostgreSQL stops at 2.1 billion.",
        )


def _consumers(
    lags: Collection[Lag],
    at: datetime,
    options: Alerts,
    using: str,
    *,
    root: Root | None,
    unsent: Root | None,
) -> Iterator[Found]:
    """`root` is said of all that are late, `unsent` of those that are by what waits in the outbox."""
    names = [lag.consumer.name for lag in lags]
    pauses = dict[str, tuple[datetime, str, str]]()
    for name, *pause in _ask(using, _PAUSED, [names]):
        pauses[name] = (pause[0], pause[1], pause[2])
    for lag in lags:
        waits_there = unsent if lag.wait.is_for_relay else None
        yield from _one(lag, pauses.get(lag.consumer.name), at, options, root=root or waits_there)
    before = at - timedelta(seconds=config().gap_alarm)
    for name, dead, died_at, gaps, parked_at in _ask(
        using, _ASIDE, {"names": names, "before": before, "limit": MANY}
    ):
        if dead:
            waits = "its key waits" if dead == 1 else "their keys wait"
            said = f"{name} could not process {_count(dead, 'event')}; {waits}."
            yield Found(Cause.DEAD_LETTERS, said, name, died_at, dead)
        if gaps:
            said = f"{_count(gaps, 'key')} of {name} wait for an event that does not come."
            yield Found(Cause.GAPS, said, name, parked_at, gaps)
    yield from _lost(names, at, using)


def _one(
    lag: Lag,
    pause: tuple[datetime, str, str] | None,
    at: datetime,
    options: Alerts,
    *,
    root: Root | None,
) -> Iterator[Found]:
    name = lag.consumer.name
    if not lag.members:
        root = Root(Cause.NO_INSTANCE, "no instance of it runs")
    elif pause is not None:
        root = Root(Cause.PAUSED_ITSELF if pause[1] == ITSELF else Cause.PAUSED, "it is paused")
    because, follows = (f": {root.words}", root.cause) if root else ("", None)
    if lag.late and lag.seconds is not None:
        since = at - timedelta(seconds=lag.seconds - lag.sync_delay_limit)
        yield Found(Cause.LATE, f"{name} {_late(lag, lag.seconds)}{because}.", name, since, follows=follows)
    if why := _falls_behind(lag):
        yield Found(Cause.FALLING_BEHIND, f"{name} {why}{because}.", name, follows=follows)
    for cause, why, since in _kept(lag):
        yield Found(cause, f"{name} {why}{because}.", name, follows=follows, unknown_since=since)
    if not lag.members:
        yield Found(Cause.NO_INSTANCE, f"No instance of {name} runs; {_waiting(lag)} wait.", name)
    if pause is None:
        return
    since, by, reason = pause
    because = f": {reason}" if reason else ""
    if by == ITSELF:
        yield Found(Cause.PAUSED_ITSELF, f"{name} has paused itself{because}", name, since)
    elif (at - since).total_seconds() > options.paused:
        yield Found(
            Cause.PAUSED, f"{name} has been paused by {by} for {_age(at - since)}{because}", name, since
        )


def _late(lag: Lag, seconds: float) -> str:
    limit = f"its limit is {lag.sync_delay_limit:g} s"
    return f"is late by {seconds:.1f} s, {limit}; {_waiting(lag)} wait in Kafka"


def _kept(lag: Lag) -> Iterator[tuple[Cause, str, datetime]]:
    """The alarms that what is not known does not end, and since when it is not: that they are over would be
    as little known as that they last.
    """
    for alarm in lag.alarms:
        since = alarm.unknown_since or lag.at
        unknown = f"has not been known for {_age(lag.at - since)}"
        if alarm.cause is AlarmCause.LATE and lag.late is None:
            limit = f"{lag.sync_delay_limit:g} s"
            yield Cause.LATE, f"was later than its limit of {limit}; how late it is now {unknown}", since
        if alarm.cause is AlarmCause.FALLING_BEHIND and lag.events is None:
            yield Cause.FALLING_BEHIND, f"fell behind; how much it has left now {unknown}", since


def _waiting(lag: Lag) -> str:
    return "it is not known how many events" if lag.events is None else _count(lag.events, "event")


def _falls_behind(lag: Lag) -> str:
    """Why consumption is too slow for what is produced; nothing when it keeps up, as far as that is known, or
    when nobody consumes.
    """
    rates = lag.rates
    if (
        not lag.members
        or rates is None
        or rates.seconds < AWHILE
        or (lag.seconds is not None and lag.seconds < PATIENCE)
        or lag.keeps_up
    ):
        return ""
    into, out = round(rates.into, 1), round(rates.out, 1)  # as they are said: they must say that it is so
    if out >= KEEPS_UP * into:
        return ""
    return f"falls behind: {into:.1f} events a second come in, {out:.1f} are processed"


def _lost(names: list[str], at: datetime, using: str) -> Iterator[Found]:
    lost = LostStretch.objects.using(using).filter(consumer_group__in=names, noticed_at__gt=at - LOST_FOR)
    for row in lost.values("consumer_group").annotate(many=Count("id"), first=Min("noticed_at")):
        name = row["consumer_group"]
        said = f"Kafka deleted {_count(row['many'], 'stretch')} of records before {name} had read them."
        yield Found(Cause.LOST, said, name, row["first"], row["many"])


_PAUSED = """
SELECT name, paused_at, paused_by, reason FROM outbox_consumer WHERE name = ANY(%s) AND paused_at IS NOT NULL
"""
_ASIDE = """
SELECT name, dead.many, dead.first, late.many, late.first
FROM (
    SELECT name, coalesce((SELECT generation FROM outbox_generation
        WHERE consumer = name AND state = 'live'), 1) AS live
    FROM unnest(%(names)s::text[]) name
) AS consumer
CROSS JOIN LATERAL (
    SELECT count(*) AS many, min(died_at) AS first FROM (
        SELECT died_at FROM outbox_dead_letter
        WHERE consumer = name AND generation = live AND state = 'open' ORDER BY died_at LIMIT %(limit)s
    ) AS open
) AS dead
CROSS JOIN LATERAL (
    SELECT count(*) AS many, min(parked_at) AS first FROM (
        SELECT parked_at FROM outbox_parked_key
        WHERE consumer = name AND generation = live AND cause = 'gap' AND parked_at < %(before)s
        LIMIT %(limit)s
    ) AS parked
) AS late
"""


def _ask(using: str, question: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connections[using].cursor() as sql:
        sql.execute(question, parameters)
        rows: list[tuple[Any, ...]] = sql.fetchall()
    return rows


def _count(number: int, what: str) -> str:
    many = what if number == 1 else f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,} or more {many}" if number == MANY else f"{number:,} {many}"


def _age(span: timedelta) -> str:
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"
