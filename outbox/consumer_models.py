"""The tables by which consumers are steered: pauses, partitions in hand, discarded events, rebuilds."""

from django.db import models
from django.db.models.functions import Now


class ConsumerState(models.Model):
    """Whether a consumer is paused, by whom and why; without a row it never was.

    resumed_at  when it last went on: failures before that are not held against it
    """

    name = models.TextField(primary_key=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = models.TextField(default="", db_default="")
    reason = models.TextField(default="", db_default="")
    resumed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outbox_consumer"
        verbose_name = "consumer"
        permissions = [("steer_consumer", "Can pause, resume, move and rebuild consumers")]

    def __str__(self) -> str:
        return f"{self.name}: {'paused' if self.paused_at else 'running'}"


class PartitionOwner(models.Model):
    """The instance that has a Kafka partition in hand. Its row goes when it lets go of it in order.

    in_hand  the offset of a suspect that was begun alone; null when there was none
    deaths   how many processes died with it in hand
    """

    pk = models.CompositePrimaryKey("consumer_group", "topic", "partition")
    consumer_group = models.TextField()
    topic = models.TextField()
    partition = models.IntegerField()
    instance = models.TextField()
    in_hand = models.BigIntegerField(null=True)
    deaths = models.SmallIntegerField(default=0, db_default=0)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_partition_owner"

    def __str__(self) -> str:
        return f"{self.consumer_group}: {self.topic}/{self.partition} of {self.instance}"


class TopicBeginning(models.Model):
    """How a consumer's generation began to read a topic.

    is_whole  from its first record on, none having been deleted: the first event of each key has number 1
    """

    pk = models.CompositePrimaryKey("consumer", "generation", "topic")
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    topic = models.TextField()
    is_whole = models.BooleanField()

    class Meta:
        db_table = "outbox_topic_beginning"

    def __str__(self) -> str:
        return f"{self.consumer}: {self.topic} {'whole' if self.is_whole else 'not from its beginning'}"


class DiscardedEvent(models.Model):
    """An event that a consumer passed over by its declared policy, with the error and the reason.

    The event itself is in Kafka, at its place, for as long as the topic keeps it.
    """

    id = models.BigAutoField(primary_key=True)
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    event_id = models.UUIDField()
    topic = models.TextField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    key = models.TextField(null=True)  # noqa: DJ001
    number = models.BigIntegerField(null=True)
    type = models.TextField()
    cause = models.TextField(help_text="the error's type")
    error = models.TextField()
    reason = models.TextField()
    discarded_at = models.DateTimeField()

    class Meta:
        db_table = "outbox_discarded_event"

    def __str__(self) -> str:
        return f"{self.consumer}: {self.type or 'record'} {self.event_id}, {self.reason}"


class Forgotten(models.Model):
    """The time of whose events the inbox of a consumer's generation was dropped.

    What happened in it and comes again cannot be told from what is new.
    """

    pk = models.CompositePrimaryKey("consumer", "generation")
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    since = models.DateTimeField()
    until = models.DateTimeField()

    class Meta:
        db_table = "outbox_forgotten"

    def __str__(self) -> str:
        return f"{self.consumer}: {self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}"


class LostStretch(models.Model):
    """Records of a partition that Kafka deleted before a consumer had come to them: offsets first to last."""

    id = models.BigAutoField(primary_key=True)
    consumer_group = models.TextField()
    topic = models.TextField()
    partition = models.IntegerField()
    first = models.BigIntegerField()
    last = models.BigIntegerField()
    noticed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_lost_stretch"
        verbose_name_plural = "lost stretches"

    def __str__(self) -> str:
        return f"{self.consumer_group}: {self.topic}/{self.partition} {self.first} to {self.last}"


class RebuildRequest(models.Model):
    """A rebuild that somebody asked for and that workers carry out. Its row goes when that is over.

    generation  the one to be built
    read        how many of its `records` have been read; these are null before the first look
    per_second  records, lately; null while that is not known
    told_at     when a worker last said so; null before the first did
    note        what an operator should know while it goes on
    error       why it does not go on before somebody has decided; empty otherwise
    """

    consumer = models.TextField(primary_key=True)
    generation = models.SmallIntegerField()
    asked_at = models.DateTimeField(db_default=Now())
    asked_by = models.TextField()
    why = models.TextField()
    via = models.TextField()
    drop_history = models.BooleanField(default=False, db_default=False)
    read = models.BigIntegerField(default=0, db_default=0)
    records = models.BigIntegerField(null=True)
    per_second = models.FloatField(null=True)
    told_at = models.DateTimeField(null=True)
    note = models.TextField(default="", db_default="")
    error = models.TextField(default="", db_default="")

    class Meta:
        db_table = "outbox_rebuild"

    def __str__(self) -> str:
        return f"{self.consumer}: generation {self.generation}, {self.read} of {self.records} records"
