"""The flow's figures, read from the system's own tables.

Every query is bounded: by an index range of a few seconds (ids are UUIDv7, so ids are times) and by a
LIMIT; none counts a table. They stay cheap beside ten million rows and at thousands of events a second.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections

from dashboard.formats import Bounded
from outbox import state
from outbox.ids import lowest_id, time_of
from outbox.registry import all_consumers
from outbox.unpublished import Oldest, oldest_of, unpublished

RATE_WINDOW = timedelta(seconds=10)
DELAY_WINDOW = timedelta(seconds=60)
# Rows looked at for one figure, and for one consumer; at many events a second the window is shorter instead.
SAMPLE_ROWS = 10_000
CONSUMER_ROWS = 2_000
RELAY_ROWS = 1_000
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Written:
    """Events written to the outbox: per second by topic, and how many since the last sample.

    cut  whether so many were written that not all of the window was looked at
    """

    per_second: Mapping[str, float]
    fresh: Mapping[str, int]
    cut: bool = False

    def rate_of(self, topic: str) -> float | None:
        """Events a second in this topic; None where it is not known, as others' events filled the window."""
        return self.per_second.get(topic, None if self.cut else 0.0)


@dataclass(frozen=True, slots=True)
class Delays:
    """Half of the events took no longer than p50, 95 of 100 no longer than p95; None without events."""

    p50: timedelta | None = None
    p95: timedelta | None = None

    @classmethod
    def of(cls, spans: Collection[timedelta]) -> "Delays":
        """Nearest-rank percentiles."""
        ranked = sorted(spans)
        if not ranked:
            return cls()
        return cls(ranked[(len(ranked) - 1) // 2], ranked[max(-(-len(ranked) * 95 // 100) - 1, 0)])


@dataclass(frozen=True, slots=True)
class RelayState:
    """Shards under a lease that has not run out, of all; how long the events that went lately had waited for
    Kafka, however old they were, and how many went.
    """

    leased: int
    shards: int
    delays: Delays
    per_second: float


@dataclass(frozen=True, slots=True)
class Processed:
    """What one consumer did lately; its rate is None where what a rebuild read again filled the window."""

    per_second: float | None = 0.0
    fresh: int = 0
    delays: Delays = field(default_factory=Delays)


# What a rebuild reads again takes up rows that are looked at, too: they are what is bounded.
_PROCESSED = """
SELECT asked.consumer, lately.*
FROM unnest(%(consumers)s::text[]) AS asked (consumer) CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE counts AND processed_at > %(rates_from)s),
        count(*) FILTER (WHERE counts AND processed_at > %(since)s),
        coalesce(
            percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY delay)
                FILTER (WHERE counts AND outcome = 'processed' AND processed_at > %(rates_from)s),
            percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY delay)
                FILTER (WHERE counts AND outcome = 'processed')),
        min(processed_at), count(*)
    FROM (
        SELECT entry.processed_at, entry.outcome, entry.processed_at - entry.occurred_at AS delay,
            (built.state IN ('building', 'abandoned') OR entry.processed_at < built.live_at) IS NOT TRUE
                AS counts
        FROM (
            SELECT * FROM outbox_inbox
            WHERE consumer = asked.consumer AND processed_at > %(delays_from)s
            ORDER BY processed_at DESC LIMIT %(limit)s
        ) AS entry LEFT JOIN outbox_generation AS built USING (consumer, generation)
    ) AS recent
) AS lately
"""


def written(*, now: datetime, since: datetime, using: str = DEFAULT_DB_ALIAS) -> Written:
    """Events written lately, by topic."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            """
            WITH recent AS MATERIALIZED (
                SELECT id, topic FROM outbox_event WHERE id >= %s ORDER BY id DESC LIMIT %s
            )
            SELECT topic, count(*), count(*) FILTER (WHERE id >= %s),
                (SELECT id FROM recent ORDER BY id LIMIT 1), (SELECT count(*) FROM recent)
            FROM recent GROUP BY topic
            """,
            [lowest_id(now - RATE_WINDOW), SAMPLE_ROWS, lowest_id(since)],
        )
        rows = cursor.fetchall()
    cut = bool(rows) and rows[0][4] == SAMPLE_ROWS
    span = _span(now, time_of(rows[0][3]), cut=cut) if rows else 1.0
    return Written({row[0]: row[1] / span for row in rows}, {row[0]: row[2] for row in rows}, cut)


def backlog(*, using: str = DEFAULT_DB_ALIAS) -> tuple[Bounded, dict[str, Oldest]]:
    """Events that no relay has moved past yet, and the oldest of them in each topic."""
    found = unpublished(limit=COUNT_LIMIT + 1, using=using)
    return Bounded.upto(COUNT_LIMIT, len(found)), oldest_of(found)


def relay_state(*, now: datetime, using: str = DEFAULT_DB_ALIAS) -> RelayState:
    """Who relays, and the delay from an event's id to its publication."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE expires_at > clock_timestamp()), count(*) FROM outbox_shard"
        )
        leased, shards = cursor.fetchone()
        cursor.execute(
            "SELECT event_id, published_at FROM outbox_publication WHERE published_at > %s"
            " ORDER BY published_at DESC LIMIT %s",
            [now - DELAY_WINDOW, RELAY_ROWS],
        )
        rows = cursor.fetchall()
    sent = [published_at for _, published_at in rows if published_at > now - RATE_WINDOW]
    span = _span(now, min(sent), cut=len(rows) == RELAY_ROWS) if sent else 1.0
    spans = [published_at - time_of(event_id) for event_id, published_at in rows]
    return RelayState(leased, shards, Delays.of(spans), len(sent) / span)


def processed(*, now: datetime, since: datetime, using: str = DEFAULT_DB_ALIAS) -> dict[str, Processed]:
    """Each declared consumer's rate and sync delay (occurred_at to committed effect), from its inbox. What a
    rebuild of a projection reads again is not counted.

    The delays are those of the window of the rate, and when it has none, of the last minute. Of each consumer
    so many rows are looked at, whatever the others do.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(
            _PROCESSED,
            {
                "consumers": [consumer.name for consumer in all_consumers()],
                "delays_from": now - DELAY_WINDOW,
                "rates_from": now - RATE_WINDOW,
                "since": since,
                "limit": CONSUMER_ROWS,
            },
        )
        rows = cursor.fetchall()
    found = {}
    for name, counted, fresh, delays, oldest, looked_at in rows:
        cut = looked_at == CONSUMER_ROWS and oldest > now - RATE_WINDOW
        rate = None if cut and not counted else counted / _span(now, oldest, cut=cut)
        found[name] = Processed(rate, fresh, Delays(*(delays or (None, None))))
    return found


def _span(now: datetime, oldest: datetime, *, cut: bool) -> float:
    """Seconds that a rate was counted over: the whole window, unless the LIMIT cut it short."""
    if not cut:
        return RATE_WINDOW.total_seconds()
    return min(max((now - oldest).total_seconds(), 0.1), RATE_WINDOW.total_seconds())


def standing_aside(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, tuple[Bounded, Bounded]]:
    """For each consumer the parked keys and the dead letters."""
    return {
        name: (
            Bounded.upto(COUNT_LIMIT, sum(aside.parked.values())),
            Bounded.upto(COUNT_LIMIT, aside.dead),
        )
        for name, aside in state.set_aside(limit=COUNT_LIMIT + 1, using=using).items()
    }


def refused(*, using: str = DEFAULT_DB_ALIAS) -> Bounded:
    """Events that Kafka refused, and those held behind them."""
    return Bounded.upto(COUNT_LIMIT, state.refused(limit=COUNT_LIMIT + 1, using=using))
