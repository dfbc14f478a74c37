"""A topic as it is declared, recorded and real: what it keeps, who reads it, and where these differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard import formats
from dashboard.formats import Text
from outbox.kafka import TopicState
from outbox.lag import PartitionLag, events_left
from outbox.lateness import Lateness, oldest_age
from outbox.registry import Consumer
from outbox.topics import Topic
from outbox.topology import Difference

FOR_EVER = "for ever"


@dataclass(frozen=True, slots=True)
class Place:
    """How far a consumer has come in a partition; `reached` is None before its first word, `high` while
    nobody knows where it ends.
    """

    consumer: Consumer
    reached: int | None
    low: int
    high: int | None

    @property
    def lag(self) -> int | None:
        """How many records it has yet to read."""
        return None if self.high is None else max(self.high - (self.reached or 0), 0)

    @property
    def most(self) -> int:
        """How long the bar is; never 0."""
        return max((self.high or 0) - self.low, 1)

    @property
    def share(self) -> int:
        """How much of it is filled: all of it where nothing is left, nothing where that is not known."""
        if self.lag is None:
            return 0
        if not self.lag:
            return self.most
        return min(max((self.reached or 0) - self.low, 0), self.most)


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """A partition: `low` is the offset of its first record, `high` the one after its last; None unknown."""

    number: int
    low: int | None
    high: int | None
    oldest: datetime | None
    latest: datetime | None
    places: tuple[Place, ...]

    @property
    def records(self) -> int | None:
        """How many it keeps; with compaction, no more than that."""
        return None if self.low is None or self.high is None else self.high - self.low


@dataclass(frozen=True, slots=True)
class Reader:
    """A consumer of the topic, and what it has yet to read there.

    unsent  the age in seconds of the topic's oldest event that no relay has sent yet; 0 for none
    away    whether Kafka does not answer now
    """

    consumer: Consumer
    parts: tuple[PartitionLag, ...]
    unsent: float
    away: bool

    @property
    def events(self) -> int | None:
        """In all partitions; None while it is not known of one."""
        return events_left(self.parts)

    @property
    def wait(self) -> Lateness:
        """How long the oldest that it has yet to process here has waited, in Kafka and for a relay."""
        ages, limit = [part.seconds for part in self.parts] or [None], self._limit
        return Lateness(oldest_age(ages, limit=limit), self.unsent, limit)

    @property
    def seconds(self) -> float | None:
        """The same, sent to Kafka or not; None if not known."""
        return self.wait.seconds

    @property
    def state(self) -> str:
        """The shape and the colour of its mark."""
        if self.wait.late is None:
            return "none"
        return "warn" if self.wait.late else "none" if self.away else "ok"

    @property
    def _limit(self) -> float:
        return self.consumer.sync_delay_limit.total_seconds()


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference in words, and what to do: a command to type, or a sentence."""

    what: str
    command: str
    advice: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What is declared or recorded, and what Kafka has; empty where nothing is, or is known."""

    name: str
    declared: str
    real: str


@dataclass(frozen=True, slots=True)
class TopicStanding:
    """A topic at one moment.

    real       as Kafka has it; None where it has none, or has not been asked yet
    seen       whether Kafka has ever said
    away       whether it does not answer now
    recorded   over how many partitions keys are spread; None before `topics apply`
    written    events a second, lately; None where it is not known
    """

    topic: Topic
    real: TopicState | None
    seen: bool
    away: bool
    recorded: int | None
    written: float | None
    partitions: tuple[PartitionStanding, ...]
    readers: tuple[Reader, ...]
    drift: tuple[Drift, ...]

    @property
    def state(self) -> str:
        """The shape and the colour of its mark."""
        if self.away or not self.seen:
            return "none"
        return "bad" if self.real is None else "warn" if self.drift else "ok"

    @property
    def word(self) -> str:
        """How it is, in a word or two."""
        if self.away:
            return "no answer from Kafka"
        if not self.seen:
            return "not known yet"
        return "does not exist" if self.real is None else "drifted" if self.drift else "as declared"

    @property
    def partitions_text(self) -> Text:
        """How many Kafka has."""
        return formats.count(None if self.real is None else self.real.partitions)

    @property
    def partitions_note(self) -> str:
        """How many are declared and recorded."""
        recorded = "none" if self.recorded is None else str(self.recorded)
        return f"declared {self.topic.partitions}, recorded {recorded}"

    @property
    def records(self) -> Text:
        """How many it keeps."""
        known = [part.records for part in self.partitions]
        if not known or None in known:
            return formats.UNKNOWN
        return formats.count(sum(count or 0 for count in known))

    @property
    def rate(self) -> Text:
        """Events a second."""
        return formats.rate(self.written)

    @property
    def oldest(self) -> datetime | None:
        """When its first record was written."""
        return min((part.oldest for part in self.partitions if part.oldest), default=None)

    @property
    def latest(self) -> datetime | None:
        """When its latest record was written."""
        return max((part.latest for part in self.partitions if part.latest), default=None)

    @property
    def retention(self) -> str:
        """For how long Kafka keeps a record."""
        return _kept(self.real.config) if self.real is not None else declared_retention(self.topic)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What is declared beside what is real."""
        real, replication = self.real, self.topic.replication
        options = {} if real is None else real.config
        recorded = "" if self.recorded is None else f"{self.recorded}"
        count = "" if real is None else f"{real.partitions}"
        return (
            Setting("partitions", f"{self.topic.partitions}", count),
            Setting("partitions that keys are spread over", recorded, count),
            Setting(
                "replication",
                "the cluster's" if replication is None else f"{replication}",
                "" if real is None else f"{real.replication}",
            ),
            Setting("retention", declared_retention(self.topic), "" if real is None else _kept(options)),
            Setting("cleanup", self.topic.cleanup, options.get("cleanup.policy", "")),
            Setting("copies before an acknowledgement", "", options.get("min.insync.replicas", "")),
            Setting("largest record, bytes", "", options.get("max.message.bytes", "")),
        )


def declared_retention(topic: Topic) -> str:
    """In words."""
    return FOR_EVER if topic.retention is None else str(formats.delay(topic.retention))


def _kept(options: Mapping[str, str]) -> str:
    milliseconds = int(options.get("retention.ms", "-1"))
    return FOR_EVER if milliseconds < 0 else str(formats.delay(timedelta(milliseconds=milliseconds)))


def drift_of(
    difference: Difference, *, topic: Topic | None, real: TopicState | None, recorded: int | None
) -> Drift:
    """What to do about a difference. `topic` is None for one of the brokers."""
    if difference.repair is not None:
        return Drift(difference.what, "manage.py topics apply", "")
    if topic is None:
        return Drift(difference.what, "", "Set auto.create.topics.enable=false on the brokers.")
    if "partitions" not in difference.what or real is None:
        return Drift(difference.what, "", "Reassign its partitions with Kafka's own tools.")
    if real.partitions > topic.partitions:
        return Drift(
            difference.what, "", f"Kafka never removes partitions: declare {real.partitions} in the code."
        )
    if real.partitions < topic.partitions or (recorded or 0) < topic.partitions:
        return Drift(
            difference.what,
            "manage.py topics apply --raise-partitions",
            "It moves keys: other readers should have read to the end before.",
        )
    return Drift(difference.what, "", "Records of one key may lie in two partitions: see docs/operations.md.")
