"""How much was paid, and how often, in each slot of time."""

import uuid

from django.db import models
from django.db.models import Q

from analytics.slots import WIDTHS

# Whose generations the rows are of.
CONSUMER = "analytics"

# Stands for all merchants together, beside the rows of each.
EVERYONE = uuid.UUID(int=0)

# What became of payments. An event counts in the slot in which it happened, and stays counted there.
STATUSES = ("pending", "validated", "rejected", "refunded")


class SlotQuerySet(models.QuerySet["Slot"]):
    def of(self, merchant_id: uuid.UUID | None) -> "SlotQuerySet":
        """One merchant's volumes; those of all together for None."""
        return self.filter(merchant_id=EVERYONE if merchant_id is None else merchant_id)


class Slot(models.Model):
    """How many payments came to one status in one slot, and their amounts together.

    `width` is one of WIDTHS; slots begin at whole multiples of it in UTC. `amount_minor` counts the
    currency's minor unit; a sum of bigints need not fit one. `generation` is the building of the projection
    that the row belongs to. `dirty` rows have changed since their totals were last looked at.
    """

    pk = models.CompositePrimaryKey("generation", "width", "merchant_id", "slot_start", "currency", "status")
    generation = models.SmallIntegerField()
    width = models.CharField(max_length=3)
    merchant_id = models.UUIDField()
    slot_start = models.DateTimeField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=9)
    count = models.BigIntegerField()
    amount_minor = models.DecimalField(max_digits=38, decimal_places=0)
    dirty = models.BooleanField(default=True)

    objects = SlotQuerySet.as_manager()

    class Meta:
        indexes = [
            # Those that have to be looked at are few: almost all rows are in slots long closed.
            models.Index(
                name="analytics_slot_dirty_idx",
                fields=["generation", "slot_start"],
                condition=Q(dirty=True, merchant_id=EVERYONE),
            )
        ]
        constraints = [
            models.CheckConstraint(
                name="analytics_slot_width_is_known", condition=Q(width__in=sorted(WIDTHS))
            ),
            models.CheckConstraint(name="analytics_slot_status_is_known", condition=Q(status__in=STATUSES)),
            models.CheckConstraint(
                name="analytics_slot_counts_something", condition=Q(count__gt=0, amount_minor__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.width} from {self.slot_start}: {self.count} {self.status} in {self.currency}"


class PublishedTotal(models.Model):
    """The totals of a slot as they were last published, whichever generation they came from.

    totals  as in SlotTotalled: a list of {status, count, amount_minor}, by status
    """

    pk = models.CompositePrimaryKey("width", "slot_start", "currency")
    width = models.CharField(max_length=2)
    slot_start = models.DateTimeField()
    currency = models.CharField(max_length=3)
    totals = models.JSONField()
    event_id = models.UUIDField()
    published_at = models.DateTimeField()

    class Meta:
        db_table = "analytics_published_total"

    def __str__(self) -> str:
        return f"{self.width} from {self.slot_start}: {self.currency}"
