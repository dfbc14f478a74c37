"""Rows of tables with a primary key of several columns, as the admin can list them.

Django's admin takes no composite primary key. These unmanaged models stand beside the real ones on the
same tables and name one column as the key, which is not unique: good for a list, wrong for anything else.
"""

from django.db import models


class Listing(models.Model):
    """Never written, never fetched by its primary key."""

    class Meta:
        abstract = True
        managed = False


class PublicationListing(Listing):
    """A Publication in a list."""

    event_id = models.UUIDField(primary_key=True)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    published_at = models.DateTimeField()

    class Meta(Listing.Meta):
        db_table = "outbox_publication"
        verbose_name = "publication"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.event_id} at {self.partition}/{self.offset}"


class InboxListing(Listing):
    """An InboxEntry in a list."""

    event_id = models.UUIDField(primary_key=True)
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    topic = models.TextField()
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    key = models.TextField(null=True)  # noqa: DJ001
    number = models.BigIntegerField(null=True)
    type = models.TextField()
    outcome = models.TextField()
    occurred_at = models.DateTimeField()
    processed_at = models.DateTimeField()

    class Meta(Listing.Meta):
        db_table = "outbox_inbox"
        verbose_name = "inbox entry"
        verbose_name_plural = "inbox"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.consumer}: {self.event_id} {self.outcome}"


class ParkedKeyListing(Listing):
    """A ParkedKey in a list, by the id that it has beside its primary key."""

    id = models.UUIDField(primary_key=True)
    event_id = models.UUIDField()
    consumer = models.TextField()
    generation = models.SmallIntegerField()
    topic = models.TextField()
    key = models.TextField()
    cause = models.TextField()
    parked_at = models.DateTimeField()

    class Meta(Listing.Meta):
        db_table = "outbox_parked_key"
        verbose_name = "parked key"
        default_permissions = ("view",)
        permissions = [("release_parkedkey", "Can release parked keys")]

    def __str__(self) -> str:
        return f"{self.consumer}: {self.topic}/{self.key}"
