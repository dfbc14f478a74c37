"""The tables of lag: who reads, how far, how far there is to read, and what that was at which time.

Instances write them about once a second (outbox/reporting.py), what they say is completed and kept every ten
seconds (outbox/sampling.py), and read by outbox/lag.py. Their SQL is in migrations/0009_lag.py.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.db.models.functions import Now


class Member(models.Model):
    """An instance of a consumer that was there at `seen_at`.

    partitions  [topic, partition] of each that it reads; none when it is idle
    """

    pk = models.CompositePrimaryKey("consumer", "name")
    consumer = models.TextField()
    name = models.TextField(help_text="host:pid, as Kafka knows it")
    partitions = models.JSONField()
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_consumer_member"

    def __str__(self) -> str:
        return f"{self.consumer}: {self.name}"


class Position(models.Model):
    """How far a consumer has come in one partition.

    reached       the offset of the next record to be processed
    occurred_at   when the last processed event happened
    processed_at  when it was processed
    clear_until   until when all that happened has been processed, about; null when that is not known
    """

    pk = models.CompositePrimaryKey("consumer", "topic", "partition")
    consumer = models.TextField()
    topic = models.TextField()
    partition = models.IntegerField()
    reached = models.BigIntegerField()
    occurred_at = models.DateTimeField(null=True)
    processed_at = models.DateTimeField(null=True)
    clear_until = models.DateTimeField(null=True)
    reported_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_consumer_position"

    def __str__(self) -> str:
        return f"{self.consumer}: {self.topic}/{self.partition} at {self.reached}"


class PartitionEnd(models.Model):
    """Where a partition of Kafka ends, as whoever reads it last said; later traces of the outbox raise it."""

    pk = models.CompositePrimaryKey("topic", "partition")
    topic = models.TextField()
    partition = models.IntegerField()
    next_offset = models.BigIntegerField()
    told_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_partition_end"

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition} ends at {self.next_offset}"


class LagSample(models.Model):
    """A consumer's lag at one moment; kept for a day, one for every ten seconds.

    events     yet to be processed; null while that was not known
    seconds    the age of the oldest of them; 0 when there was none, null while it was not known
    delay      the longest from an event to its effect, of all that was processed until the next sample; null
               when nothing was
    produced   the sum of the partitions' known ends: of two samples whose `events` are known the difference
               is what came in
    processed  the sum of the offsets reached
    members    how many instances there were
    """

    pk = models.CompositePrimaryKey("consumer", "at")
    consumer = models.TextField()
    at = models.DateTimeField()
    events = models.BigIntegerField(null=True)
    seconds = models.FloatField(null=True)
    delay = models.FloatField(null=True)
    produced = models.BigIntegerField()
    processed = models.BigIntegerField()
    members = models.SmallIntegerField()

    class Meta:
        db_table = "outbox_lag_sample"

    def __str__(self) -> str:
        return f"{self.consumer} at {self.at}: {self.events} events, {self.seconds:.1f} s"


class AlarmCause(models.TextChoices):
    """What is wrong with a consumer's lag: later than its limit, or slower than production for a minute.

    These are alarms (outbox/alerts/) among others, under the same names.
    """

    LATE = "late"
    FALLING_BEHIND = "falling_behind"


@dataclass(frozen=True, slots=True)
class LagAlarm:
    """One that is present: since when it has been so, and since when nobody knows whether it still is; None
    while that is known.
    """

    cause: AlarmCause
    since: datetime
    unknown_since: datetime | None = None
