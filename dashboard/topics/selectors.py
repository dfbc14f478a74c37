"""What the pages of topics show: Kafka's answer beside what the tables know, which stays when it is away."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import DEFAULT_DB_ALIAS

from dashboard.asking import one_look
from dashboard.sampler import Reading
from dashboard.selectors import written
from dashboard.topics.observer import Seen, is_fresh
from dashboard.topics.standing import (
    Drift,
    PartitionStanding,
    Place,
    Reader,
    TopicStanding,
    drift_of,
)
from outbox import clock
from outbox.config import config
from outbox.kafka import Placement
from outbox.lag import Lag, all_lags
from outbox.models import TopicRecord
from outbox.positions import PartitionEnd
from outbox.topics import Topic
from outbox.topology import compare
from outbox.unpublished import oldest_unpublished


@dataclass(frozen=True, slots=True)
class Topics:
    """All declared topics, and what concerns the cluster as a whole.

    seen_at     when Kafka said it; None before it has
    away_since  since when it does not answer; None while it does
    asking      whether nothing fresh has been heard yet
    """

    topics: tuple[TopicStanding, ...]
    drift: tuple[Drift, ...]
    undeclared: tuple[tuple[str, int], ...]
    seen_at: datetime | None
    away_since: datetime | None
    reason: str
    asking: bool


def topics(reading: Reading[Seen], *, using: str = DEFAULT_DB_ALIAS) -> Topics:
    """How they stand, with Kafka's last answer. Raises OperationalError when the database is away."""
    with one_look(using=using):
        now = clock.now(using=using)
        lately = written(now=now, since=now, using=using)
        recorded = dict(TopicRecord.objects.using(using).values_list("name", "partitions"))
        told = {(one.topic, one.partition): one for one in PartitionEnd.objects.using(using)}
        found = all_lags()
        oldest = oldest_unpublished(using=using)
        waits = {name: (now - one.happened_at).total_seconds() for name, one in oldest.items()}
    seen, declared = reading.value, config().declared_topics()
    drift = _drift(declared, seen, recorded)
    return Topics(
        topics=tuple(
            TopicStanding(
                topic=topic,
                real=None if seen is None else seen.topics.get(topic.name),
                seen=seen is not None,
                away=reading.away_since is not None,
                recorded=recorded.get(topic.name),
                written=lately.rate_of(topic.name),
                partitions=tuple(_partitions(topic, reading, told, found, recorded.get(topic.name))),
                readers=tuple(
                    Reader(
                        lag.consumer,
                        tuple(part for part in lag.partitions if part.topic == topic.name),
                        unsent=max(waits.get(topic.name, 0.0), 0.0),
                        away=reading.away_since is not None,
                    )
                    for lag in found
                    if topic.name in lag.consumer.topics
                ),
                drift=tuple(drift[topic.name]),
            )
            for topic in declared
        ),
        drift=tuple(drift[""]),
        undeclared=() if seen is None else tuple(seen.undeclared.items()),
        seen_at=reading.at,
        away_since=reading.away_since,
        reason=reading.reason,
        asking=reading.away_since is None and not is_fresh(reading, now=now),
    )


def _drift(
    declared: tuple[Topic, ...], seen: Seen | None, recorded: dict[str, int]
) -> dict[str, list[Drift]]:
    """By topic; what concerns the brokers under no name."""
    found: dict[str, list[Drift]] = defaultdict(list)
    if seen is None:
        return found
    by_name = {topic.name: topic for topic in declared}
    for difference in compare(declared, present=seen.topics, recorded=recorded, by_itself=seen.by_itself):
        topic, name = by_name.get(difference.name), difference.name
        drift = drift_of(difference, topic=topic, real=seen.topics.get(name), recorded=recorded.get(name))
        found["" if topic is None else name].append(drift)
    return found


def _partitions(
    topic: Topic,
    reading: Reading[Seen],
    told: dict[Placement, PartitionEnd],
    found: list[Lag],
    recorded: int | None,
) -> Iterator[PartitionStanding]:
    """Those that Kafka has, or that the tables know of while it has not answered."""
    seen = reading.value
    known = [place for place in (told if seen is None else seen.ends) if place[0] == topic.name]
    numbers = {number for _, number in known} | set(range(recorded or 0) if seen is None else [])
    reached = {
        (lag.consumer.name, part.topic, part.partition): part.reached
        for lag in found
        for part in lag.partitions
    }
    for number in sorted(numbers):
        place = (topic.name, number)
        low = None if seen is None else seen.starts.get(place)
        high = _end(place, reading, told.get(place))
        oldest, latest = seen.spans.get(place, (None, None)) if seen else (None, None)
        yield PartitionStanding(
            number,
            low,
            high,
            oldest,
            latest,
            tuple(
                Place(lag.consumer, reached.get((lag.consumer.name, *place)), low or 0, high)
                for lag in found
                if topic.name in lag.consumer.topics
            ),
        )


def _end(place: Placement, reading: Reading[Seen], told: PartitionEnd | None) -> int | None:
    """As Kafka said, or as an instance has said since then. Of a topic that was made anew Kafka knows."""
    end = reading.value.ends.get(place) if reading.value else None
    if told is None or (end is not None and reading.at is not None and told.told_at < reading.at):
        return end
    return told.next_offset if end is None else max(end, told.next_offset)
