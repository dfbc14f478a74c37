"""The state of a payment and its transitions."""

from datetime import datetime
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from contracts.money import LARGEST_AMOUNT_MINOR, Money
from payments.errors import TransitionForbidden


class Status(models.TextChoices):
    """pending → validated → refunded, or pending → rejected."""

    PENDING = "pending"
    VALIDATED = "validated"
    REJECTED = "rejected"
    REFUNDED = "refunded"


# The states of a payment that has been good at some time.
_ONCE_VALIDATED = [Status.VALIDATED.value, Status.REFUNDED.value]


class PaymentQuerySet(models.QuerySet["Payment"]):
    def seen_by(self, merchant_id: UUID | None) -> "PaymentQuerySet":
        """One merchant's payments; everyone's for None."""
        return self if merchant_id is None else self.filter(merchant_id=merchant_id)


class Payment(models.Model):
    """Money that a merchant asks of a customer.

    `id` is a UUIDv7 of the moment of the request, so ids sort by time. `amount_minor` counts the currency's
    minor unit. `lines` is a list of {sku, quantity, unit_price_minor} that adds up to the amount, or empty.
    `metadata` belongs to the merchant, is given back as it came, and never leaves this table for an event.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    merchant_id = models.UUIDField()
    customer_id = models.CharField(max_length=100)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    lines = models.JSONField(default=list)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    validated_at = models.DateTimeField(null=True)

    objects = PaymentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(F("merchant_id"), F("id").desc(), name="payments_merchant_idx")]
        constraints = [
            models.CheckConstraint(
                name="payments_amount_is_sane",
                condition=Q(amount_minor__gt=0, amount_minor__lte=LARGEST_AMOUNT_MINOR),
            ),
            models.CheckConstraint(
                name="payments_currency_is_a_code", condition=Q(currency__regex=r"^[A-Z]{3}$")
            ),
            models.CheckConstraint(name="payments_status_is_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(
                name="payments_validated_at_iff_validated",
                condition=Q(status__in=_ONCE_VALIDATED, validated_at__isnull=False)
                | (~Q(status__in=_ONCE_VALIDATED) & Q(validated_at__isnull=True)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.money}, {self.status}"

    @property
    def money(self) -> Money:
        """The exact amount with its currency."""
        return Money(self.amount_minor, self.currency)

    def validate(self, *, at: datetime) -> None:
        """pending → validated. The caller holds the row's lock. Raises TransitionForbidden."""
        if self.status != Status.PENDING:
            raise TransitionForbidden(self.id, status=self.status, wanted=Status.VALIDATED)
        self.status = Status.VALIDATED
        self.validated_at = at
        self.save(update_fields=["status", "validated_at"])
