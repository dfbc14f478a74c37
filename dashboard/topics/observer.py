"""What Kafka says of the topics: asked at most once every few seconds in a web process, however many watch.

In a thread of its own that ends with its question, and with a client that goes with it: nothing is left open
when nobody looks any more. While Kafka is away, what it last said stays, with its time.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.measure import KAFKA_TIMEOUT
from dashboard.outage import kafka_outage
from dashboard.sampler import Reading
from outbox.config import config
from outbox.kafka import BrokerError, Cluster, Placement, Span, TopicState

EVERY = 5.0
# An answer that is older was given to somebody else, a while ago.
FRESH = 3 * EVERY


@dataclass(frozen=True, slots=True)
class Seen:
    """The topics as the cluster has them.

    topics      those that are declared and exist
    undeclared  how many partitions each of the others has; Kafka's own are left out
    starts      the offset of the first record of each partition of the declared ones
    ends        the offset after the last
    spans       when these two were written
    by_itself   whether brokers create topics that are merely asked for
    """

    topics: Mapping[str, TopicState]
    undeclared: Mapping[str, int]
    starts: Mapping[Placement, int]
    ends: Mapping[Placement, int]
    spans: Mapping[Placement, Span]
    by_itself: bool


class Observer:
    """Gives what was last seen, and looks again when that is `every` seconds old."""

    def __init__(self, connect: Callable[[], Cluster] | None = None, *, every: float = EVERY) -> None:
        self._connect = connect or (lambda: Cluster(config().kafka, timeout=KAFKA_TIMEOUT))
        self._every = every
        self._lock = threading.Lock()
        self._asked_at = -every
        self._done = threading.Event()
        self._done.set()
        self._reading: Reading[Seen] = Reading()

    def look(self, *, patience: float = 0.0) -> Reading[Seen]:
        """What was last seen. Waits for a look under way, but no longer than `patience` seconds."""
        with self._lock:
            now = time.monotonic()
            if self._done.is_set() and now - self._asked_at >= self._every:
                if now - self._asked_at > FRESH:
                    # It was away when somebody last asked: nobody knows whether it is now.
                    self._reading = Reading(self._reading.value, self._reading.at)
                self._asked_at = now
                self._done = threading.Event()
                threading.Thread(target=self._look, args=[self._done], name="topics", daemon=True).start()
            done = self._done
        done.wait(patience)
        return self._reading

    def _look(self, done: threading.Event) -> None:
        begun, last = datetime.now(UTC), self._reading
        try:
            self._reading = Reading(_seen(self._connect()), begun)
            kafka_outage.over()
        except BrokerError as error:
            since = min(last.away_since or begun, kafka_outage.met(begun))
            self._reading = Reading(last.value, last.at, since, str(error).partition("\n")[0])
        finally:
            done.set()


def is_fresh(reading: Reading[Seen], *, now: datetime) -> bool:
    """Whether what was seen is of these seconds."""
    return (
        reading.away_since is None and reading.at is not None and (now - reading.at).total_seconds() < FRESH
    )


def answers(reading: Reading[Seen], *, now: datetime) -> bool | None:
    """Whether Kafka answers; None while that is not known."""
    return False if reading.away_since is not None else is_fresh(reading, now=now) or None


def _seen(cluster: Cluster) -> Seen:
    declared = {topic.name for topic in config().declared_topics()}
    counts = cluster.partition_counts()
    places = [(name, part) for name, count in counts.items() if name in declared for part in range(count)]
    return Seen(
        topics=cluster.topics(declared & counts.keys()),
        undeclared={name: count for name, count in sorted(counts.items()) if name not in declared},
        starts=cluster.log_starts(places),
        ends=cluster.watermarks(places),
        spans=cluster.spans(places),
        by_itself=cluster.creates_topics_by_itself(),
    )


observer = Observer()
