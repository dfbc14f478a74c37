"""One look at the database and one at Kafka: what the sampler takes once a second, whoever watches."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from dashboard import selectors
from dashboard.behind import Behind, all_behind
from dashboard.formats import Bounded
from dashboard.latest import Audience, event_rows, latest_events
from outbox.config import config
from outbox.kafka import BrokerError, Cluster

STATEMENT_TIMEOUT_MS = 3_000
KAFKA_TIMEOUT = 3.0


@dataclass(frozen=True, slots=True)
class DatabaseSample:
    """What the tables said at one moment; `behind` by consumer, `events` as rows of a table by audience."""

    at: datetime
    written: selectors.Written
    waiting: Bounded
    oldest_waiting: timedelta | None
    refused: Bounded
    relay: selectors.RelayState
    processed: Mapping[str, selectors.Processed]
    aside: Mapping[str, tuple[Bounded, Bounded]]
    behind: Mapping[str, Behind]
    events: Mapping[Audience, str]


@dataclass(frozen=True, slots=True)
class KafkaSample:
    """How far the topics reach: `records` is the sum of their partitions' ends."""

    at: datetime
    topics: int
    partitions: int
    records: int
    per_second: float | None = None
    fresh: int = 0


class DatabaseProbe:
    """Reads the figures on the calling thread's connection; `close()` gives that up."""

    def __init__(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using

    def measure(self, *, now: datetime, since: datetime, audiences: Collection[Audience]) -> DatabaseSample:
        """All figures from one snapshot. Raises OperationalError when the database is away."""
        using = self._using
        with transaction.atomic(using=using):
            with connections[using].cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)]
                )
            waiting, unsent = selectors.backlog(using=using)
            return DatabaseSample(
                at=now,
                written=selectors.written(now=now, since=since, using=using),
                waiting=waiting,
                oldest_waiting=now - min(unsent.values()) if unsent else None,
                refused=selectors.refused(using=using),
                relay=selectors.relay_state(now=now, using=using),
                processed=selectors.processed(now=now, since=since, using=using),
                aside=selectors.standing_aside(using=using),
                behind=all_behind(now=now, unsent=unsent, using=using),
                # Rendered here, and not in the loop that serves everyone.
                events={name: event_rows(latest) for name, latest in latest_events(audiences).items()},
            )

    def close(self) -> None:
        """Close this thread's connection."""
        connections[self._using].close()


class KafkaProbe:
    """Asks the cluster; remembers the last answer, because a rate is the difference of two."""

    def __init__(self, connect: Callable[[], Cluster] | None = None) -> None:
        self._connect = connect or (lambda: Cluster(config().kafka, timeout=KAFKA_TIMEOUT))
        self._cluster: Cluster | None = None
        self._ends: list[tuple[datetime, int]] = []

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
        total = sum(ends.values())
        per_second, fresh = self._rate(now, total)
        return KafkaSample(now, len(counts), len(ends), total, per_second, fresh)

    def _rate(self, now: datetime, total: int) -> tuple[float | None, int]:
        """Records appended per second over the window, and since the last sample."""
        last = self._ends[-1][1] if self._ends else total
        self._ends = [end for end in self._ends if now - end[0] <= selectors.RATE_WINDOW]
        self._ends.append((now, total))
        first_at, first = self._ends[0]
        seconds = (now - first_at).total_seconds()
        return (None if seconds < 2.5 else max(total - first, 0) / seconds), max(total - last, 0)

    def close(self) -> None:
        """Let go of the client."""
        self._cluster = None
        self._ends.clear()
