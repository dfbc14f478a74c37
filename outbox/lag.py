"""How far consumers are behind, in events and in seconds, and who reads what.

Read from what instances say about once a second (outbox/reporting.py) and from the outbox's own tables: Kafka
is not asked, and the lag of a consumer of which no instance runs grows all the same.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from outbox import clock
from outbox.alerts.alarms import Alarm
from outbox.kafka import Placement
from outbox.lateness import Lateness, oldest_age
from outbox.members import PRESENT, Instance, members_of
from outbox.models import TopicRecord
from outbox.oldest_left import oldest_left
from outbox.positions import AlarmCause, LagAlarm, LagSample, PartitionEnd, Position
from outbox.registry import Consumer, all_consumers
from outbox.unpublished import oldest_unpublished

# Over which rates are taken, from samples that are so far apart.
RATE, SLOT = timedelta(seconds=60), timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """A consumer's place in one partition.

    member   the instance that reads it; None while nobody does
    reached  the offset of the next record to be processed; None before the first word of an instance
    end      the offset after the last record; None while nobody has told
    seconds  the age of the oldest event that is yet to be processed; 0 when there is none, None while it is
             not known
    delay    from the last processed event to its effect; None before the first
    """

    topic: str
    partition: int
    member: str | None
    reached: int | None
    end: int | None
    seconds: float | None
    delay: float | None
    processed_at: datetime | None

    @property
    def events(self) -> int | None:
        """How many are yet to be processed; None while nobody has told where it ends."""
        return None if self.end is None else max(self.end - (self.reached or 0), 0)

    @property
    def known_end(self) -> int | None:
        """The end as far as anybody knows: who has read on since it was told knows more."""
        return max((one for one in (self.end, self.reached) if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second over the last `seconds`: that came into a consumer's topics, and that it moved past."""

    into: float
    out: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Lag:
    """A consumer at one moment.

    unpublished  the age of the oldest event of its topics that no relay has sent yet, in seconds; 0 for none
    rates        of the last minute; None while they are not known
    alarms       what is said to be wrong with it
    """

    consumer: Consumer
    at: datetime
    partitions: tuple[PartitionLag, ...]
    members: tuple[Instance, ...]
    unpublished: float
    rates: Rates | None
    alarms: tuple[LagAlarm, ...]

    @property
    def events(self) -> int | None:
        """How many records Kafka has that are yet to be processed; None while not known of a partition."""
        return events_left(self.partitions)

    @property
    def wait(self) -> Lateness:
        """How long the oldest event yet to be processed has waited, in Kafka and for a relay."""
        ages = [part.seconds for part in self.partitions] or [None]
        limit = self.sync_delay_limit
        return Lateness(oldest_age(ages, limit=limit), self.unpublished, limit)

    @property
    def seconds(self) -> float | None:
        """The age of the oldest event yet to be processed, sent to Kafka or not; 0 when there is none.

        None while it is not known.
        """
        return self.wait.seconds

    @property
    def late(self) -> bool | None:
        """Whether an event waits for longer than it may; None while that is not known."""
        return self.wait.late

    @property
    def delay(self) -> float | None:
        """From the event that was processed last to its effect."""
        done = [part for part in self.partitions if part.processed_at is not None]
        last = max(done, key=lambda part: part.processed_at or self.at, default=None)
        return None if last is None else last.delay

    @property
    def produced(self) -> int:
        """The sum of the partitions' ends."""
        return sum(part.end or 0 for part in self.partitions)

    @property
    def processed(self) -> int:
        """The sum of the offsets reached."""
        return sum(part.reached or 0 for part in self.partitions)

    @property
    def keeps_up(self) -> bool | None:
        """Whether what Kafka has for it is on its way, at the present rate (`Lateness.keeps_up`); None while
        nobody knows how much that is.
        """
        out = 0.0 if self.rates is None else self.rates.out
        return None if self.events is None else self.wait.keeps_up(events=self.events, out=out)

    @property
    def catch_up_seconds(self) -> float | None:
        """Until nothing is left, at the present rates: 0 while it keeps up; None when that is never, or not
        known.

        Nobody knows while events of its topics wait for a relay for longer than it may be late.
        """
        if self.unpublished > self.sync_delay_limit or self.events is None:
            return None
        if self.keeps_up:
            return 0.0
        if self.rates is None or self.rates.out <= self.rates.into:
            return None
        return self.events / (self.rates.out - self.rates.into)

    @property
    def silent_readers(self) -> tuple[Instance, ...]:
        """Those that have gone silent with partitions. Kafka gives these to others a few seconds later."""
        return tuple(member for member in self.members if member.silent and member.partitions)

    @property
    def sync_delay_limit(self) -> float:
        """Seconds, as declared."""
        return self.consumer.sync_delay_limit.total_seconds()


def events_left(partitions: Collection[PartitionLag]) -> int | None:
    """How many are yet to be processed in these; None while it is not known of one, or there is none."""
    known = [part.events for part in partitions if part.events is not None]
    return sum(known) if known and len(known) == len(partitions) else None


def all_lags() -> list[Lag]:
    """Every declared consumer's, by name."""
    by_database: dict[str, list[Consumer]] = defaultdict(list)
    for consumer in all_consumers():
        by_database[consumer.using].append(consumer)
    found = [lag for using, consumers in by_database.items() for lag in lags(consumers, using=using)]
    return sorted(found, key=lambda lag: lag.consumer.name)


def lags(consumers: Collection[Consumer], *, using: str) -> list[Lag]:
    """Those of these consumers, whose inboxes are all in this database."""
    names = [consumer.name for consumer in consumers]
    now = clock.now(using=using)
    positions = Position.objects.using(using).filter(consumer__in=names)
    known = {(one.consumer, one.topic, one.partition): one for one in positions}
    topics = {topic for consumer in consumers for topic in consumer.topics}
    ends = {
        (one.topic, one.partition): one.next_offset
        for one in PartitionEnd.objects.using(using).filter(topic__in=topics)
    }
    recorded = [
        (topic.name, partition)
        for topic in TopicRecord.objects.using(using).filter(name__in=topics)
        for partition in range(topic.partitions)
    ]
    members = members_of(names, now=now, using=using)
    unpublished = oldest_unpublished(using=using)
    behind = [
        one
        for one in known.values()
        if one.reached < ends.get((one.topic, one.partition), 0) and one.reported_at < now - PRESENT
    ]
    oldest = oldest_left(behind, using=using)
    alarms: dict[str, list[LagAlarm]] = defaultdict(list)
    raised = Alarm.objects.using(using).present().filter(cause__in=AlarmCause.values, subject__in=names)
    for alarm in raised.order_by("cause"):
        alarms[alarm.subject].append(LagAlarm(AlarmCause(alarm.cause), alarm.since, alarm.unknown_since))
    earlier = _earlier(names, now=now, using=using)
    found = []
    for consumer in consumers:
        places = sorted(
            place
            for place in {*ends, *recorded, *(key[1:] for key in known if key[0] == consumer.name)}
            if place[0] in consumer.topics
        )
        readers = {place: one.name for one in members[consumer.name] for place in one.partitions}
        partitions = tuple(
            _partition(
                place,
                member=readers.get(place),
                position=known.get((consumer.name, *place)),
                end=ends.get(place),
                oldest=oldest.get((consumer.name, *place)),
                now=now,
            )
            for place in places
        )
        waits = [now - unpublished[topic].happened_at for topic in consumer.topics if topic in unpublished]
        lag = Lag(
            consumer=consumer,
            at=now,
            partitions=partitions,
            members=tuple(members[consumer.name]),
            unpublished=_seconds(max(waits, default=timedelta(0))),
            rates=None,
            alarms=tuple(alarms[consumer.name]),
        )
        found.append(_with_rates(lag, earlier.get(consumer.name)))
    return found


def history(consumer: Consumer, *, since: datetime) -> list[LagSample]:
    """What its lag was since then, of ten seconds each, the oldest first; a day of it is kept."""
    samples = LagSample.objects.using(consumer.using).filter(consumer=consumer.name, at__gte=since)
    return list(samples.order_by("at"))


def _partition(
    place: Placement,
    *,
    member: str | None,
    position: Position | None,
    end: int | None,
    oldest: datetime | None,
    now: datetime,
) -> PartitionLag:
    delay = None
    if position is not None and position.processed_at is not None and position.occurred_at is not None:
        delay = _seconds(position.processed_at - position.occurred_at)
    return PartitionLag(
        topic=place[0],
        partition=place[1],
        member=member,
        reached=None if position is None else position.reached,
        end=end,
        seconds=_age(position, end=end, oldest=oldest, now=now),
        delay=delay,
        processed_at=None if position is None else position.processed_at,
    )


def _age(
    position: Position | None, *, end: int | None, oldest: datetime | None, now: datetime
) -> float | None:
    """Of the oldest event left in a partition."""
    if end is None:
        return None
    if end <= (0 if position is None else position.reached):
        return 0.0
    # What the end was reached at, or the last event happened at: the oldest one left is no older, about.
    since = oldest or (None if position is None else position.clear_until)
    return None if since is None else _seconds(now - since)


def _seconds(span: timedelta) -> float:
    return max(span.total_seconds(), 0.0)


def _earlier(names: Collection[str], *, now: datetime, using: str) -> dict[str, LagSample]:
    """Each consumer's sample of a minute ago, or the oldest since then."""
    samples = LagSample.objects.using(using).filter(consumer__in=names, at__gte=now - RATE - SLOT)
    found: dict[str, LagSample] = {}
    for sample in samples.order_by("at"):
        found.setdefault(sample.consumer, sample)
    return found


def _with_rates(lag: Lag, earlier: LagSample | None) -> Lag:
    """What came in and was moved past since a sample. An offset that was set back is no rate; nor is an end
    of which nobody had told, or tells.
    """
    if earlier is None or earlier.events is None or lag.events is None:
        return lag
    if (seconds := (lag.at - earlier.at).total_seconds()) < 1:
        return lag
    into = max(lag.produced - earlier.produced, 0) / seconds
    out = max(lag.processed - earlier.processed, 0) / seconds
    return replace(lag, rates=Rates(into, out, seconds))
