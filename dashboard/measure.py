"""One look at the database and one at Kafka: what the sampler takes once a second, whoever watches."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from dashboard import selectors
from dashboard.formats import Bounded
from dashboard.latest import Audience, latest_events
from outbox.config import config
from outbox.ids import time_of
from outbox.kafka import BrokerError, Cluster
from outbox.registry import all_consumers, get_consumer
from outbox.selectors import Trace

STATEMENT_TIMEOUT_MS = 3_000
KAFKA_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class DatabaseSample:
    """What the tables said at one moment. `oldest` holds the oldest unprocessed event's time per consumer."""

    at: datetime
    written: selectors.Written
    waiting: Bounded
    oldest_waiting: timedelta | None
    refused: Bounded
    relay: selectors.RelayState
    processed: Mapping[str, selectors.Processed]
    aside: Mapping[str, tuple[Bounded, Bounded]]
    oldest: Mapping[str, datetime | None]
    events: Mapping[Audience, tuple[Trace, ...]]


@dataclass(frozen=True, slots=True)
class KafkaSample:
    """How far the topics reach and how far each consumer's group has come. Offsets are sums over partitions.

    lag     events a group has yet to read, by consumer
    since   since when a group has been behind without a break, by consumer; None where it is not
    """

    at: datetime
    topics: int
    partitions: int
    records: int
    lag: Mapping[str, int]
    per_second: float | None = None
    fresh: int = 0
    since: Mapping[str, datetime | None] = field(default_factory=dict)


class DatabaseProbe:
    """Reads the figures on the calling thread's connection; `close()` gives that up."""

    def __init__(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using
        self._floors: dict[str, datetime] = {}

    def measure(
        self,
        *,
        now: datetime,
        since: datetime,
        audiences: Collection[Audience],
        behind: Mapping[str, datetime | None],
    ) -> DatabaseSample:
        """All figures from one snapshot. Raises OperationalError when the database is away."""
        using = self._using
        with transaction.atomic(using=using):
            with connections[using].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)]
                )
            waiting, oldest_waiting = selectors.backlog(now=now, using=using)
            return DatabaseSample(
                at=now,
                written=selectors.written(now=now, since=since, using=using),
                waiting=waiting,
                oldest_waiting=oldest_waiting,
                refused=selectors.refused(using=using),
                relay=selectors.relay_state(now=now, using=using),
                processed=selectors.processed(now=now, since=since, using=using),
                aside=selectors.standing_aside(using=using),
                oldest={name: self._oldest(name, now=now, since=start) for name, start in behind.items()},
                events=latest_events(audiences),
            )

    def _oldest(self, name: str, *, now: datetime, since: datetime | None) -> datetime | None:
        """When the oldest event that this consumer has yet to process was written."""
        if since is None:
            self._floors.pop(name, None)
            return None
        # Found once, it only moves forward: the next search begins there.
        floor = max(self._floors.get(name, since), now - selectors.OLDEST_WAIT)
        found = selectors.oldest_unprocessed(
            consumer=name, topics=get_consumer(name).topics, since=floor, using=self._using
        )
        if found is None:
            return None
        self._floors[name] = time_of(found)
        return self._floors[name]

    def close(self) -> None:
        """Close this thread's connection."""
        connections[self._using].close()


class KafkaProbe:
    """Asks the cluster; remembers the last answer, because a rate is the difference of two."""

    def __init__(self, connect: Callable[[], Cluster] | None = None) -> None:
        self._connect = connect or (lambda: Cluster(config().kafka, timeout=KAFKA_TIMEOUT))
        self._cluster: Cluster | None = None
        self._ends: list[tuple[datetime, int]] = []
        self._level: dict[str, datetime] = {}

    def measure(self, *, now: datetime) -> KafkaSample:
        """Raises BrokerError when Kafka does not answer."""
        cluster = self._cluster = self._cluster or self._connect()
        try:
            return self._ask(cluster, now)
        except BrokerError:
            # A client that has seen a broker die may wait for its old answers; a new one does not.
            self._cluster = None
            raise

    def _ask(self, cluster: Cluster, now: datetime) -> KafkaSample:
        declared = {topic.name for topic in config().declared_topics()}
        counts = {name: count for name, count in cluster.partition_counts().items() if name in declared}
        ends = cluster.watermarks((name, part) for name, count in counts.items() for part in range(count))
        lag = {}
        for consumer in all_consumers():
            committed = cluster.committed(consumer.name)
            lag[consumer.name] = sum(
                max(end - committed.get(place, 0), 0)
                for place, end in ends.items()
                if place[0] in consumer.topics
            )
        total = sum(ends.values())
        per_second, fresh = self._rate(now, total)
        return KafkaSample(now, len(counts), len(ends), total, lag, per_second, fresh, self._since(now, lag))

    def _rate(self, now: datetime, total: int) -> tuple[float | None, int]:
        """Records appended per second over the window, and since the last sample."""
        last = self._ends[-1][1] if self._ends else total
        self._ends = [end for end in self._ends if now - end[0] <= selectors.RATE_WINDOW]
        self._ends.append((now, total))
        first_at, first = self._ends[0]
        seconds = (now - first_at).total_seconds()
        return (None if seconds < 2.5 else max(total - first, 0) / seconds), max(total - last, 0)

    def _since(self, now: datetime, lag: Mapping[str, int]) -> dict[str, datetime | None]:
        """From when on to look for what a consumer has left; at first sight that may be long ago."""
        # An event takes a moment from its id to Kafka; it must not fall before the search.
        slack = timedelta(seconds=30)
        self._level |= {name: now for name, behind in lag.items() if not behind}
        long_ago = now - selectors.OLDEST_WAIT
        return {
            name: self._level.get(name, long_ago) - slack if behind else None for name, behind in lag.items()
        }

    def close(self) -> None:
        """Let go of the client."""
        self._cluster = None
        self._ends.clear()
