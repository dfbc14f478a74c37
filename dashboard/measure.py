"""One look at the database and one at Kafka: what the sampler takes once a second, whoever watches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from dashboard import selectors
from dashboard.alerts.count import alarm_badge
from dashboard.asking import Patience, TooSlow, one_look
from dashboard.behind import Behind, all_behind
from dashboard.formats import Bounded
from dashboard.latest import event_rows, latest_events
from outbox.config import config
from outbox.kafka import BrokerError, Cluster

KAFKA_TIMEOUT = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DatabaseSample:
    """What the tables said at one moment; None for what they did not say in time: `slow` names it in words.

    behind  by consumer; without what waits for a relay where that is not known
    events  the latest, as rows of a table: rendered with the look, and not in the loop that serves everyone
    badge   how many alarms there are, as the navigation shows it
    slow    since when each is not known
    """

    at: datetime
    written: selectors.Written | None
    waiting: Bounded | None
    oldest_waiting: timedelta | None
    refused: Bounded | None
    relay: selectors.RelayState | None
    processed: Mapping[str, selectors.Processed] | None
    aside: Mapping[str, tuple[Bounded, Bounded]] | None
    behind: Mapping[str, Behind] | None
    events: str | None = None
    badge: str | None = None
    slow: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KafkaSample:
    """What the topics keep: `records` is what has not been deleted; with compaction, no more than that."""

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
        self._patience = Patience[str]()

    def measure(self, *, now: datetime, since: datetime) -> DatabaseSample:
        """All figures from one snapshot. Raises OperationalError when the database is away."""
        using, slow = self._using, dict[str, datetime]()

        def asked(name: str, question: Callable[[], T]) -> T | None:
            def apart() -> T:
                with transaction.atomic(using=using):
                    return question()

            answer = self._patience.ask(name, apart)
            if isinstance(answer, TooSlow):
                slow[name] = answer.since
                return None
            return answer

        with one_look(using=using, snapshot=True):
            waiting, unsent = asked("what waits in the outbox", lambda: selectors.backlog(using=using)) or (
                None,
                {},
            )
            return DatabaseSample(
                at=now,
                written=asked(
                    "what is written", lambda: selectors.written(now=now, since=since, using=using)
                ),
                waiting=waiting,
                oldest_waiting=now - min(one.waits_since for one in unsent.values()) if unsent else None,
                refused=asked("what Kafka refused", lambda: selectors.refused(using=using)),
                relay=asked("the relay", lambda: selectors.relay_state(now=now, using=using)),
                processed=asked(
                    "what consumers do", lambda: selectors.processed(now=now, since=since, using=using)
                ),
                aside=asked("dead letters and parked keys", lambda: selectors.standing_aside(using=using)),
                behind=asked(
                    "how far consumers are behind", lambda: all_behind(now=now, unsent=unsent, using=using)
                ),
                events=asked("the latest events", lambda: event_rows(latest_events())),
                badge=asked("how many alarms there are", alarm_badge),
                slow=slow,
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
        starts = cluster.log_starts(ends)
        kept = sum(max(end - starts[place], 0) for place, end in ends.items())
        return KafkaSample(now, len(counts), len(ends), kept, per_second, fresh)

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
