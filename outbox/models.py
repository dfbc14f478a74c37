"""The engine's tables. Their SQL, with partitions and triggers, is in migrations/0001_tables.py.

The event and its publications stand in the publisher's database; the inbox and all below it in the
consumer's. Today both are one.
"""

from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from outbox.errors import LateEvent
from outbox.in_hand import InHand


def fresh_id() -> UUID:
    """Of this moment by the local clock; the engine gives rows ids by the database's."""
    return uuid7()


class OutboxEvent(models.Model):
    """One published fact. Append-only: the database refuses UPDATE and DELETE; pruning drops partitions.

    Range-partitioned by `id`, a UUIDv7, so that a partition is a span of time. `position` orders the
    events of a key, since the key is locked before its event is numbered; `txid` says which snapshots see it.
    """

    id = models.UUIDField(primary_key=True)
    position = models.BigIntegerField()
    txid = models.TextField(help_text="the transaction that wrote it (xid8)")
    shard = models.SmallIntegerField()
    topic = models.TextField()
    key = models.TextField(null=True)  # noqa: DJ001  (no key and an empty key are different in Kafka)
    hash = models.IntegerField(null=True, help_text="of the key, as Kafka's partitioner makes it")
    number = models.BigIntegerField(null=True, help_text="place within its key, from 1, no gaps")
    partition = models.IntegerField(null=True, help_text="explicit partition, only without a key")
    type = models.TextField()
    source = models.TextField()
    occurred_at = models.DateTimeField()
    correlation_id = models.UUIDField()
    causation_id = models.UUIDField(null=True)
    traceparent = models.TextField(null=True)  # noqa: DJ001
    content_type = models.TextField()
    payload = models.BinaryField()
    owner = models.TextField(null=True, help_text="for whom the API may show it")  # noqa: DJ001

    class Meta:
        db_table = "outbox_event"

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Publication(models.Model):
    """Where Kafka put an event. Written with the relay's cursor; twice when an event was sent twice.

    published_at  when this was written: Kafka had the event by then
    sent_at       when a relay began to send it; null where an earlier release did
    """

    pk = models.CompositePrimaryKey("event_id", "partition", "offset")
    event_id = models.UUIDField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    published_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outbox_publication"

    def __str__(self) -> str:
        return f"{self.event_id} at {self.partition}/{self.offset}"


class KeyCounter(models.Model):
    """The last number given within (topic, key); its row lock is what orders the key's publishers."""

    pk = models.CompositePrimaryKey("topic", "key")
    topic = models.TextField()
    key = models.TextField()
    number = models.BigIntegerField()

    class Meta:
        db_table = "outbox_key_counter"

    def __str__(self) -> str:
        return f"{self.topic}/{self.key}: {self.number}"


class Refusal(models.Model):
    """An event that Kafka refused, or one waiting behind it: it holds its key, and nothing else.

    requested_at  when an operator asked for it to be sent again; null until then, and when that failed
    discarded     why it is not to be sent, but a placeholder in its place; empty when it is
    """

    event_id = models.UUIDField(primary_key=True)
    position = models.BigIntegerField()
    topic = models.TextField()
    key = models.TextField(null=True)  # noqa: DJ001
    cause = models.TextField()
    refused_at = models.DateTimeField()
    requested_at = models.DateTimeField(null=True)
    discarded = models.TextField(default="", db_default="")

    class Meta:
        db_table = "outbox_refusal"
        permissions = [
            ("resend_refusal", "Can have refused events sent again"),
            ("discard_refusal", "Can discard refused events"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.cause}"


class TopicRecord(models.Model):
    """The partition count that keys are spread over. Only `topics apply` raises it."""

    name = models.TextField(primary_key=True)
    partitions = models.IntegerField()
    applied_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_topic"

    def __str__(self) -> str:
        return self.name


class Outcome(models.TextChoices):
    """What became of an event in a consumer."""

    PROCESSED = "processed"
    UNHANDLED = "unhandled"
    PARKED = "parked"
    DEAD = "dead"
    DISCARDED = "discarded"


class InboxEntry(models.Model):
    """What a consumer has already moved past; written in the transaction of its effect.

    Range-partitioned by `event_id`. Foreign events and malformed records get a derived, stable id.

    received_at  when the consumer had read the record; null in rows older than this column
    """

    pk = models.CompositePrimaryKey("event_id", "consumer", "generation")
    event_id = models.UUIDField()
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    topic = models.TextField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    key = models.TextField(null=True)  # noqa: DJ001
    number = models.BigIntegerField(null=True)
    type = models.TextField()
    outcome = models.TextField(choices=Outcome)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(null=True)
    processed_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_inbox"

    def __str__(self) -> str:
        return f"{self.consumer}: {self.event_id} {self.outcome}"


class GenerationState(models.TextChoices):
    """What a generation is for."""

    LIVE = "live"
    BUILDING = "building"
    RETIRED = "retired"
    ABANDONED = "abandoned"


class Generation(models.Model):
    """One building of a projection's effect from its events. Without a row, generation 1 is live.

    A retired one has been replaced, an abandoned one will never be live; their rows go with the last of what
    they left behind.

    live_at  when it replaced another; null for the first, and for one that is being built
    """

    pk = models.CompositePrimaryKey("consumer", "generation")
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    state = models.TextField(choices=GenerationState)
    started_at = models.DateTimeField(db_default=Now())
    live_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outbox_generation"
        constraints = [
            models.UniqueConstraint(
                name="outbox_one_live_generation", fields=["consumer"], condition=Q(state="live")
            ),
            models.UniqueConstraint(
                name="outbox_one_generation_is_built", fields=["consumer"], condition=Q(state="building")
            ),
            models.CheckConstraint(
                name="outbox_generation_state_is_known", condition=Q(state__in=GenerationState.values)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.consumer}: generation {self.generation}, {self.state}"


class ConsumerKey(models.Model):
    """What a row about one key of one topic in one consumer's generation is known by."""

    consumer = models.TextField()
    generation = models.SmallIntegerField()
    topic = models.TextField()
    key = models.TextField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.consumer}: {self.topic}/{self.key}"


class KeyProgress(ConsumerKey):
    """The number of the last event of a key that a consumer has moved past."""

    pk = models.CompositePrimaryKey("consumer", "generation", "topic", "key")
    number = models.BigIntegerField()

    class Meta:
        db_table = "outbox_key_progress"


class ParkCause(models.TextChoices):
    """Why a key waits."""

    DEAD_LETTER = "dead_letter"
    GAP = "gap"
    RELEASED = "released"  # what waits is being run, a transaction after the other


class ParkedKey(ConsumerKey, InHand):
    """A key whose later events wait. Its row is the mutex: appended FOR SHARE, released FOR UPDATE.

    in_hand   the event at which a worker begins that goes on with it, with the other columns of InHand
    suspects  of so many events each is run by itself: they may have been in hand when a worker died
    """

    id = models.UUIDField(default=fresh_id, unique=True)
    pk = models.CompositePrimaryKey("consumer", "generation", "topic", "key")
    cause = models.TextField(choices=ParkCause)
    event_id = models.UUIDField(help_text="the dead letter, or the first event after the gap")
    parked_at = models.DateTimeField()
    alarmed_at = models.DateTimeField(null=True, help_text="when it was said that a gap lasts too long")
    suspects = models.IntegerField(default=0, db_default=0)

    class Meta:
        db_table = "outbox_parked_key"


class RecordCopy(models.Model):
    """A Kafka record kept whole: headers as [name, base64 value or null] pairs, key and value as bytes.

    timestamp  Kafka's; null when the record had none
    """

    event_id = models.UUIDField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    number = models.BigIntegerField(null=True)
    type = models.TextField()
    headers = models.JSONField()
    raw_key = models.BinaryField(null=True)
    payload = models.BinaryField(null=True)
    timestamp = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class WaitingEvent(RecordCopy, ConsumerKey):
    """An event of a parked key, waiting for its turn in order of `id`."""

    id = models.BigAutoField(primary_key=True)
    received_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_waiting_event"


class LetterState(models.TextChoices):
    """Whether a dead letter still asks for something to be done."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class DeadLetter(RecordCopy):
    """An event that a consumer could not process, with its cause; kept when it has been settled, too.

    died_at     when it died first: an attempt that fails once more, of which its acts tell, leaves it
    correction  the data with which it was replayed, in the place of its own, which stays as it came
    """

    id = models.UUIDField(primary_key=True, default=fresh_id)
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    topic = models.TextField()
    key = models.TextField(null=True)  # noqa: DJ001
    occurred_at = models.DateTimeField(null=True)
    cause = models.TextField(help_text="the error's type")
    error = models.TextField()
    traceback = models.TextField(blank=True)
    fingerprint = models.TextField(help_text="the same for failures at the same place")
    attempts = models.IntegerField()
    died_at = models.DateTimeField()
    state = models.TextField(choices=LetterState, default=LetterState.OPEN, db_default=LetterState.OPEN)
    settled_at = models.DateTimeField(null=True)
    correction = models.BinaryField(null=True)

    class Meta:
        db_table = "outbox_dead_letter"
        permissions = [
            ("replay_deadletter", "Can replay dead letters"),
            ("discard_deadletter", "Can discard dead letters"),
        ]

    def __str__(self) -> str:
        return f"{self.consumer}: {self.type or 'record'} {self.event_id}, {self.cause}"

    @property
    def is_late(self) -> bool:
        """Whether later events of its key had been processed: it is replayed out of its order."""
        return self.cause == LateEvent.__name__
