"""The state of an order and its lines."""

from uuid import UUID

from django.db import models
from django.db.models import F, Q

from contracts.money import LARGEST_AMOUNT_MINOR


class Status(models.TextChoices):
    """created → modified → cancelled."""

    CREATED = "created"
    MODIFIED = "modified"
    CANCELLED = "cancelled"


class OrderQuerySet(models.QuerySet["Order"]):
    def seen_by(self, merchant_id: UUID | None) -> "OrderQuerySet":
        """One merchant's orders; everyone's for None."""
        return self if merchant_id is None else self.filter(merchant_id=merchant_id)

    def with_lines(self) -> "OrderQuerySet":
        """Their lines fetched beside them, in one query for all."""
        return self.prefetch_related("lines")


class Order(models.Model):
    """What was sold for one validated payment.

    `id` is a UUIDv7 of the moment of its making. `total_minor` counts the currency's minor unit. An order
    of a payment without lines has no lines: none is invented.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    payment_id = models.UUIDField()
    merchant_id = models.UUIDField()
    customer_id = models.CharField(max_length=100)
    total_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=9, choices=Status, default=Status.CREATED)
    created_at = models.DateTimeField()

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(F("merchant_id"), F("id").desc(), name="orders_merchant_idx")]
        constraints = [
            # What makes "one order for one payment" true whatever is delivered twice.
            models.UniqueConstraint(name="orders_one_per_payment", fields=["payment_id"]),
            models.CheckConstraint(
                name="orders_total_is_sane",
                condition=Q(total_minor__gt=0, total_minor__lte=LARGEST_AMOUNT_MINOR),
            ),
            models.CheckConstraint(
                name="orders_currency_is_a_code", condition=Q(currency__regex=r"^[A-Z]{3}$")
            ),
            models.CheckConstraint(name="orders_status_is_known", condition=Q(status__in=Status.values)),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.status}"


class OrderLine(models.Model):
    """One line of an order, at its place in the list."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    position = models.SmallIntegerField()
    sku = models.CharField(max_length=100)
    quantity = models.IntegerField()
    unit_price_minor = models.BigIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = [
            models.UniqueConstraint(name="orders_line_position_once", fields=["order", "position"]),
            models.CheckConstraint(
                name="orders_line_is_positive", condition=Q(quantity__gt=0, unit_price_minor__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} x {self.sku}"
