"""The state of an order and its lines."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import F, OuterRef, Q
from django.db.models.functions import JSONObject

from contracts.fields import LONGEST_ADDRESS, LONGEST_REASON, Line
from contracts.money import LARGEST_AMOUNT_MINOR
from orders.errors import TransitionForbidden


class Status(models.TextChoices):
    """created → modified, as often as needed; from either → cancelled."""

    CREATED = "created"
    MODIFIED = "modified"
    CANCELLED = "cancelled"


class Cause(models.TextChoices):
    """What brought the cancellation about, as its event says."""

    COMMAND = "command"
    PAYMENT_REFUNDED = "payment_refunded"


class OrderQuerySet(models.QuerySet["Order"]):
    def seen_by(self, merchant_id: UUID | None) -> "OrderQuerySet":
        """One merchant's orders; everyone's for None."""
        return self if merchant_id is None else self.filter(merchant_id=merchant_id)

    def with_lines(self) -> "OrderQuerySet":
        """Their lines read in the same statement, so that no order is seen with another moment's lines."""
        line = JSONObject(sku=F("sku"), quantity=F("quantity"), unit_price_minor=F("unit_price_minor"))
        lines = OrderLine.objects.filter(order=OuterRef("pk")).order_by("position").values(line=line)
        return self.annotate(lines_read=ArraySubquery(lines))


class Order(models.Model):
    """What was sold for one validated payment.

    `id` is a UUIDv7 of the moment of its making. `total_minor` counts the currency's minor unit. An order
    of a payment without lines has no lines: none is invented. The lines are those of now; what they were
    before stands in the order's events. `modified_at` is of the last change. `reason` is what a person wrote
    about the cancellation, and there is one if and only if a person asked for it.

    Beside the constraints below, triggers refuse every transition that is not in `Status` or goes back in
    time, any change of what was sold or of a cancelled order, lines that do not add up to the total, are
    moved or are taken away, an order that does not begin as created, and DELETE (migrations 0002 and 0004).
    """

    id = models.UUIDField(primary_key=True, editable=False)
    payment_id = models.UUIDField()
    merchant_id = models.UUIDField()
    customer_id = models.CharField(max_length=100)
    total_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=9, choices=Status, default=Status.CREATED)
    shipping_address = models.CharField(max_length=LONGEST_ADDRESS, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    modified_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    cause = models.CharField(max_length=16, choices=Cause, blank=True, default="", db_default="")
    reason = models.CharField(max_length=LONGEST_REASON, blank=True, default="", db_default="")

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(F("merchant_id"), F("id").desc(), name="orders_merchant_idx"),
            models.Index(F("merchant_id"), F("customer_id"), F("id").desc(), name="orders_customer_idx"),
            # A page of one state is found without a walk through all the others.
            models.Index(F("merchant_id"), F("status"), F("id").desc(), name="orders_merchant_status_idx"),
            models.Index(F("status"), F("id").desc(), name="orders_status_idx"),
        ]
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
            models.CheckConstraint(
                name="orders_modified_at_fits_status",
                condition=Q(status=Status.CREATED.value, modified_at__isnull=True)
                | Q(status=Status.MODIFIED.value, modified_at__isnull=False)
                | Q(status=Status.CANCELLED.value),
            ),
            models.CheckConstraint(
                name="orders_cancelled_at_iff_cancelled",
                condition=Q(status=Status.CANCELLED.value, cancelled_at__isnull=False)
                | (~Q(status=Status.CANCELLED.value) & Q(cancelled_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="orders_cause_iff_cancelled",
                condition=Q(status=Status.CANCELLED.value, cause__in=Cause.values)
                | (~Q(status=Status.CANCELLED.value) & Q(cause="")),
            ),
            models.CheckConstraint(
                name="orders_reason_iff_command",
                condition=(Q(cause=Cause.COMMAND.value) & ~Q(reason=""))
                | (~Q(cause=Cause.COMMAND.value) & Q(reason="")),
            ),
            models.CheckConstraint(
                name="orders_reason_has_no_controls",
                condition=~Q(reason__regex=r"[\u0001-\u001f\u007f-\u009f]"),
            ),
            models.CheckConstraint(
                name="orders_address_has_no_controls",  # but line feeds
                condition=~Q(shipping_address__regex=r"[\u0001-\u0009\u000b-\u001f\u007f-\u009f]"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.status}"

    @property
    def changed_at(self) -> datetime:
        """When it became what it is: the time of its last event, before which none can follow."""
        return self.cancelled_at or self.modified_at or self.created_at

    def modify(self, *, at: datetime, shipping_address: str | None = None) -> None:
        """created or modified → modified. The caller holds the row's lock. Raises TransitionForbidden."""
        self.expect_open(wanted=Status.MODIFIED)
        self.status = Status.MODIFIED
        self.modified_at = at
        if shipping_address is not None:
            self.shipping_address = shipping_address
        self.save(update_fields=["status", "modified_at", "shipping_address"])

    def cancel(self, *, cause: Cause, at: datetime, reason: str = "") -> None:
        """created or modified → cancelled. The caller holds the row's lock. Raises TransitionForbidden."""
        self.expect_open(wanted=Status.CANCELLED)
        self.status = Status.CANCELLED
        self.cancelled_at, self.cause, self.reason = at, cause, reason
        self.save(update_fields=["status", "cancelled_at", "cause", "reason"])

    def expect_open(self, *, wanted: Status) -> None:
        """Raise TransitionForbidden, naming what was wanted, when the order is cancelled."""
        if self.status == Status.CANCELLED:
            raise TransitionForbidden(self.id, status=self.status, wanted=wanted)

    def as_lines(self) -> tuple[Line, ...]:
        """The lines as events carry them: those read with the order or given to it, or else those of now."""
        known: list[dict[str, Any]] | None = getattr(self, "lines_read", None)
        if known is not None:
            return tuple(msgspec.convert(known, list[Line]))
        return tuple(
            Line(sku=line.sku, quantity=line.quantity, unit_price_minor=line.unit_price_minor)
            for line in self.lines.all()
        )

    def replace_lines(self, lines: Sequence[Line]) -> None:
        """Have these lines instead of those of before. The caller holds the row's lock."""
        self.lines.all().delete()
        OrderLine.objects.bulk_create(self.new_lines(lines))
        self.hold_lines(lines)

    def new_lines(self, lines: Sequence[Line]) -> "list[OrderLine]":
        """Rows of lines for an order that has none. They must add up to the total: in the database, too."""
        return [
            OrderLine(
                order=self,
                position=position,
                sku=line.sku,
                quantity=line.quantity,
                unit_price_minor=line.unit_price_minor,
            )
            for position, line in enumerate(lines, start=1)
        ]

    def hold_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines from here on, whatever others may give the order after this."""
        vars(self)["lines_read"] = msgspec.to_builtins(list(lines))


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
