"""The relays' own tables, in the publisher's database: who relays, how far they have come, and where to."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Shard(models.Model):
    """A share of the keys: who relays it (a lease) and how far it has come (a cursor of two snapshots).

    The window being drained is what `current` sees and `previous` did not, by position; `position` is
    the last one sent.
    """

    shard = models.SmallIntegerField(primary_key=True)
    owner = models.TextField(null=True)  # noqa: DJ001
    epoch = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True)
    previous = models.TextField()
    current = models.TextField(null=True)  # noqa: DJ001
    position = models.BigIntegerField(default=0)

    class Meta:
        db_table = "outbox_shard"

    def __str__(self) -> str:
        return f"shard {self.shard}"


class RelayMember(models.Model):
    """A relay that is there, with or without shards of its own, until its time runs out."""

    owner = models.TextField(primary_key=True)
    expires_at = models.DateTimeField()
    started_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox_relay"

    def __str__(self) -> str:
        return self.owner


class Origin(models.Model):
    """Where the outbox belongs, as relays found it; one row. See outbox/origin.py.

    ends  of each partition ("topic/number"), when it was taken: what is before is not looked at
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    server = models.TextField()
    timeline = models.TextField()
    kafka = models.TextField()
    ends = models.JSONField()
    taken_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "outbox_origin"
        constraints = [models.CheckConstraint(name="outbox_one_origin", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"{self.server} to {self.kafka}"
