"""Rows of tables with a primary key of several columns, as the admin can list them.

Unmanaged, beside the real models on the same tables; the one column that is named as the key is not unique.
"""

from django.db import models

from analytics.slots import WIDTHS


class SlotListing(models.Model):
    """A Slot in a list. Never written, never fetched by its primary key."""

    slot_start = models.DateTimeField(primary_key=True)
    generation = models.SmallIntegerField()
    width = models.CharField(max_length=3, choices=[(name, name) for name in reversed(WIDTHS)])
    merchant_id = models.UUIDField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=9)
    count = models.BigIntegerField()
    amount_minor = models.DecimalField(max_digits=38, decimal_places=0)

    class Meta:
        managed = False
        db_table = "analytics_slot"
        default_permissions = ("view",)
        verbose_name = "slot"

    def __str__(self) -> str:
        return f"{self.width} from {self.slot_start}: {self.currency} {self.status}"
