"""Loyalty accounts and their ledger."""

from django.db import models
from django.db.models import Q


class Account(models.Model):
    """A customer's account with one merchant. It holds no balance: that is the sum of its ledger."""

    id = models.UUIDField(primary_key=True, editable=False)
    merchant_id = models.UUIDField()
    customer_id = models.CharField(max_length=100)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                name="loyalty_one_account_per_customer", fields=["merchant_id", "customer_id"]
            )
        ]

    def __str__(self) -> str:
        return f"{self.merchant_id}:{self.customer_id}"


class Reason(models.TextChoices):
    """Why points were entered."""

    EARNED = "earned"
    REVERSED = "reversed"


class LedgerEntry(models.Model):
    """Points entered for good: the database refuses UPDATE and DELETE; a mistake gets a second entry.

    Every validated payment has exactly one "earned" entry, of 0 points when the amount was too small, so
    that ledger and payments can be reconciled by counting. A refunded payment has one "reversed" entry too,
    of minus the points that it had earned, on the same account: a trigger refuses any other (migration 0003).
    So no balance falls below zero.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="entries")
    points = models.BigIntegerField()
    reason = models.CharField(max_length=8, choices=Reason)
    payment_id = models.UUIDField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(name="loyalty_once_per_payment", fields=["payment_id", "reason"]),
            models.CheckConstraint(name="loyalty_reason_is_known", condition=Q(reason__in=Reason.values)),
            models.CheckConstraint(
                name="loyalty_earned_is_not_negative",
                condition=~Q(reason=Reason.EARNED.value) | Q(points__gte=0),
            ),
            models.CheckConstraint(
                name="loyalty_reversed_is_not_positive",
                condition=~Q(reason=Reason.REVERSED.value) | Q(points__lte=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.points:+d} {self.reason}"
