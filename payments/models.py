"""The state of a payment and its transitions."""

from datetime import datetime
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from contracts.fields import LONGEST_REASON
from contracts.money import LARGEST_AMOUNT_MINOR, Money
from payments.errors import PaymentExpired, TransitionForbidden


class Status(models.TextChoices):
    """pending → validated → refunded, or pending → rejected."""

    PENDING = "pending"
    VALIDATED = "validated"
    REJECTED = "rejected"
    REFUNDED = "refunded"


class Cause(models.TextChoices):
    """What brought the last transition about, as the event of it says."""

    COMMAND = "command"
    EXPIRY = "expiry"
    ORDER_CANCELLED = "order_cancelled"


# The states of a payment that has been good at some time.
_ONCE_VALIDATED = [Status.VALIDATED.value, Status.REFUNDED.value]


class PaymentQuerySet(models.QuerySet["Payment"]):
    def seen_by(self, merchant_id: UUID | None) -> "PaymentQuerySet":
        """One merchant's payments; everyone's for None."""
        return self if merchant_id is None else self.filter(merchant_id=merchant_id)

    def due(self, *, at: datetime) -> "PaymentQuerySet":
        """Pending payments whose time is over, the longest first."""
        return self.filter(status=Status.PENDING, expires_at__lte=at).order_by("expires_at")


class Payment(models.Model):
    """Money that a merchant asks of a customer.

    `id` is a UUIDv7 of the moment of the request, so ids sort by time. `amount_minor` counts the currency's
    minor unit. `lines` is a list of {sku, quantity, unit_price_minor} that adds up to the amount, or empty.
    A payment still pending at `expires_at` can no longer be validated. `cause` and `reason` tell of a
    rejection or a refund; the reason is what a person wrote, and there is one if and only if a person asked
    for it. `metadata` belongs to the merchant and is given back as it came. Neither it nor the reason ever
    leaves this table for an event.

    Beside the constraints below triggers refuse every transition that is not in `Status` or goes back in
    time, a validation after the deadline, any change of what was asked for or of how the payment became what
    it is, a payment that does not begin as pending, and DELETE (migration 0005).
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
    expires_at = models.DateTimeField()
    validated_at = models.DateTimeField(null=True)
    rejected_at = models.DateTimeField(null=True)
    refunded_at = models.DateTimeField(null=True)
    cause = models.CharField(max_length=15, choices=Cause, blank=True, default="", db_default="")
    reason = models.CharField(max_length=LONGEST_REASON, blank=True, default="", db_default="")

    objects = PaymentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(F("merchant_id"), F("id").desc(), name="payments_merchant_idx"),
            models.Index(F("merchant_id"), F("customer_id"), F("id").desc(), name="payments_customer_idx"),
            # A page of one state is found without a walk through all the others.
            models.Index(F("merchant_id"), F("status"), F("id").desc(), name="payments_merchant_status_idx"),
            models.Index(F("status"), F("id").desc(), name="payments_status_idx"),
            # What the sweep looks for: it stays as small as the number of payments still pending.
            models.Index(
                fields=["expires_at"], name="payments_due_idx", condition=Q(status=Status.PENDING.value)
            ),
        ]
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
            models.CheckConstraint(
                name="payments_rejected_at_iff_rejected",
                condition=Q(status=Status.REJECTED.value, rejected_at__isnull=False)
                | (~Q(status=Status.REJECTED.value) & Q(rejected_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="payments_refunded_at_iff_refunded",
                condition=Q(status=Status.REFUNDED.value, refunded_at__isnull=False)
                | (~Q(status=Status.REFUNDED.value) & Q(refunded_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="payments_cause_fits_status",
                condition=Q(status__in=[Status.PENDING.value, Status.VALIDATED.value], cause="")
                | Q(status=Status.REJECTED.value, cause__in=[Cause.COMMAND.value, Cause.EXPIRY.value])
                | Q(
                    status=Status.REFUNDED.value, cause__in=[Cause.COMMAND.value, Cause.ORDER_CANCELLED.value]
                ),
            ),
            models.CheckConstraint(
                name="payments_reason_iff_command",
                condition=(Q(cause=Cause.COMMAND.value) & ~Q(reason=""))
                | (~Q(cause=Cause.COMMAND.value) & Q(reason="")),
            ),
            models.CheckConstraint(
                name="payments_reason_has_no_controls",
                condition=~Q(reason__regex=r"[\u0001-\u001f\u007f-\u009f]"),
            ),
            models.CheckConstraint(
                name="payments_expires_after_creation", condition=Q(expires_at__gt=F("created_at"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.money}, {self.status}"

    @property
    def money(self) -> Money:
        """The exact amount with its currency."""
        return Money(self.amount_minor, self.currency)

    @property
    def changed_at(self) -> datetime:
        """When it became what it is: the time of its last event, before which none can follow."""
        return self.refunded_at or self.rejected_at or self.validated_at or self.created_at

    def validate(self, *, at: datetime) -> None:
        """pending → validated. The caller holds the row's lock.

        Raises TransitionForbidden, PaymentExpired.
        """
        self._expect(Status.PENDING, wanted=Status.VALIDATED)
        if at >= self.expires_at:
            raise PaymentExpired(self.id, expires_at=self.expires_at)
        self.status = Status.VALIDATED
        self.validated_at = at
        self.save(update_fields=["status", "validated_at"])

    def reject(self, *, cause: Cause, at: datetime, reason: str = "") -> None:
        """pending → rejected. The caller holds the row's lock. Raises TransitionForbidden."""
        self._expect(Status.PENDING, wanted=Status.REJECTED)
        self.status = Status.REJECTED
        self.rejected_at, self.cause, self.reason = at, cause, reason
        self.save(update_fields=["status", "rejected_at", "cause", "reason"])

    def refund(self, *, cause: Cause, at: datetime, reason: str = "") -> None:
        """validated → refunded. The caller holds the row's lock. Raises TransitionForbidden."""
        self._expect(Status.VALIDATED, wanted=Status.REFUNDED)
        self.status = Status.REFUNDED
        self.refunded_at, self.cause, self.reason = at, cause, reason
        self.save(update_fields=["status", "refunded_at", "cause", "reason"])

    def _expect(self, needed: Status, *, wanted: Status) -> None:
        if self.status != needed:
            raise TransitionForbidden(self.id, status=self.status, wanted=wanted, needed=needed)
