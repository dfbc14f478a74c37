"""What this process has done, counted for Prometheus. outbox/exposition.py tells it.

Labels are bounded: consumers, topics and types as they are declared, anything else is "other"; never a key or
an id. What comes in batches is counted once per batch.
"""

import threading
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import cache

from outbox.config import config
from outbox.events import Event
from outbox.registry import all_consumers

OTHER = "other"
# What a consumer dropped because it knew it; the other outcomes are those of the inbox.
REPEATED = "repeated"

Labels = tuple[str, ...]

INSTRUMENTS: list["Count | Spread"] = []


class Count:
    """A number that only grows, for each combination of labels."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._lock = threading.Lock()
        self._values: dict[Labels, float] = {}
        INSTRUMENTS.append(self)

    def add(self, *labels: str, times: float = 1) -> None:
        """Count so many more."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + times

    def values(self) -> Mapping[Labels, float]:
        """All of them now."""
        with self._lock:
            return dict(self._values)


class Spread:
    """How values are spread: how many were at most as large as each bound (a histogram)."""

    def __init__(self, name: str, text: str, *labels: str, bounds: Iterable[float]) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.bounds = tuple(bounds)
        self._lock = threading.Lock()
        self._values: dict[Labels, tuple[list[int], float]] = {}
        INSTRUMENTS.append(self)

    def add(self, *labels: str, values: Collection[float]) -> None:
        """Count these values."""
        if not values:
            return
        found = Tally([bisect_left(self.bounds, value) for value in values])
        total = sum(values)
        with self._lock:
            counts, before = self._values.get(labels) or ([0] * (len(self.bounds) + 1), 0.0)
            for place, count in found.items():
                counts[place] += count
            self._values[labels] = counts, before + total

    def values(self) -> Mapping[Labels, tuple[list[int], float]]:
        """Now, for each combination of labels: how many lie between each two bounds, and their sum."""
        with self._lock:
            return {labels: (list(counts), total) for labels, (counts, total) in self._values.items()}


SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200)
CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)

PUBLISHED = Count(
    "outbox_published_events",
    "Events written into the outbox, in transactions that committed.",
    "topic",
    "type",
)
RELAYED = Count("outbox_relayed_events", "Events that Kafka has taken, and whose place is recorded.", "topic")
REFUSED = Count(
    "outbox_refused_events",
    "Events set aside by a relay: refused by Kafka, or behind one of their key.",
    "topic",
)
RELAY_SECONDS = Spread(
    "outbox_relay_seconds",
    "From an event's writing to its place in Kafka being recorded: the longest of each page.",
    bounds=SECONDS,
)
RELAY_PAGE = Spread("outbox_relay_page_events", "Events that a relay sent together.", bounds=EVENTS)
PROCESSED = Count(
    "outbox_processed_events",
    "Events that a consumer moved past, in transactions that committed, by what became of them.",
    "consumer",
    "type",
    "outcome",
)
SYNC_DELAY = Spread(
    "outbox_sync_delay_seconds",
    "From an event's occurrence to its effect being committed in a consumer.",
    "consumer",
    bounds=SECONDS,
)
RETRIED = Count(
    "outbox_retries",
    "Batches that a consumer runs again, by the family of the error at which they failed.",
    "consumer",
    "family",
)
BATCH_EVENTS = Spread(
    "outbox_batch_events", "Events in a transaction of a consumer.", "consumer", bounds=EVENTS
)
BATCH_SECONDS = Spread(
    "outbox_batch_seconds", "Seconds that a transaction of a consumer took.", "consumer", bounds=CALLS
)


def serve(*, system: bool = False, instance: int = 0) -> None:
    """Tell the metrics at OUTBOX["METRICS_ADDRESS"], if there is one: see outbox.exposition.serve()."""
    if address := config().metrics_address:
        from outbox import exposition

        exposition.serve(address, system=system, instance=instance)


@cache
def _types() -> frozenset[str]:
    """The types of all events that are declared by now, which is when all handlers are loaded."""
    found: set[str] = set()
    left: list[type[Event]] = [Event]
    while left:
        event = left.pop()
        left += event.__subclasses__()
        found |= {event.type} if isinstance(getattr(event, "type", None), str) else set()
    return frozenset(found)


@cache
def _topics() -> frozenset[str]:
    return frozenset(topic.name for topic in config().declared_topics())


@cache
def _consumers() -> frozenset[str]:
    return frozenset(consumer.name for consumer in all_consumers())


def forget() -> None:
    """Look again at what is declared."""
    for declared in (_types, _topics, _consumers):
        declared.cache_clear()


def type_label(event_type: str) -> str:
    """The type, if a contract declares it."""
    return event_type if event_type in _types() else OTHER


def topic_label(topic: str) -> str:
    """The topic, if the project declares it."""
    return topic if topic in _topics() else OTHER


def consumer_label(consumer: str) -> str:
    """The consumer, if a handlers.py declares it."""
    return consumer if consumer in _consumers() else OTHER


def published(topic: str, event_type: str) -> None:
    """An event was written, and committed."""
    PUBLISHED.add(topic_label(topic), type_label(event_type))


def relayed(taken: Iterable[str], refused: Iterable[str], *, events: int, waited: float) -> None:
    """A page was recorded: the topics of the events that Kafka took, and of those that were set aside."""
    for topic, count in Tally(taken).items():
        RELAYED.add(topic_label(topic), times=count)
    for topic, count in Tally(refused).items():
        REFUSED.add(topic_label(topic), times=count)
    RELAY_PAGE.add(values=[events])
    RELAY_SECONDS.add(values=[max(waited, 0.0)])


def processed(
    consumer: str, outcomes: Collection[tuple[str, str]], *, occurred: Collection[datetime], now: datetime
) -> None:
    """A transaction was committed: type and outcome of each event, and when the processed ones happened."""
    consumer = consumer_label(consumer)
    for (event_type, outcome), count in Tally(outcomes).items():
        PROCESSED.add(consumer, type_label(event_type), outcome, times=count)
    SYNC_DELAY.add(consumer, values=[max((now - at).total_seconds(), 0.0) for at in occurred])


def ran(consumer: str, *, events: int, seconds: float) -> None:
    """A consumer's transaction was committed."""
    consumer = consumer_label(consumer)
    BATCH_EVENTS.add(consumer, values=[events])
    BATCH_SECONDS.add(consumer, values=[seconds])


def retried(consumer: str, family: str) -> None:
    """A consumer's transaction failed, and will be run again."""
    RETRIED.add(consumer_label(consumer), family)
