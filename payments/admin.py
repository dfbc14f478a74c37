"""Payments in the admin, read-only."""

import json

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from accounts.readonly import ReadOnlyAdmin
from contracts.money import minor_to_text
from payments.models import Payment, Status


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    """Payments of all merchants."""

    list_display = (
        "id",
        "merchant_id",
        "customer_id",
        "amount",
        "shown_status",
        "cause",
        "created_at",
        "expires_at",
    )
    list_filter = ("status", "created_at")
    found_by = ("id", "merchant_id")
    search_help_text = "The whole id of a payment or a merchant"
    ordering = ("-id",)
    fields = (
        "id",
        "merchant_id",
        "customer_id",
        "amount",
        "shown_status",
        "cause",
        "reason",
        "created_at",
        "expires_at",
        "validated_at",
        "rejected_at",
        "refunded_at",
        "shown_lines",
        "shown_metadata",
    )

    @admin.display(description="amount")
    def amount(self, payment: Payment) -> str:
        """The exact amount with its currency."""
        return str(payment.money)

    @display(
        description="status",
        label={
            Status.PENDING.value: "warning",
            Status.VALIDATED.value: "success",
            Status.REJECTED.value: "danger",
            Status.REFUNDED.value: "info",
        },
    )
    def shown_status(self, payment: Payment) -> str:
        """The state, coloured."""
        return payment.status

    @admin.display(description="lines")
    def shown_lines(self, payment: Payment) -> str:
        """One line after the other."""
        prices = [minor_to_text(line["unit_price_minor"], payment.currency) for line in payment.lines]
        return "\n".join(
            f"{line['quantity']} x {line['sku']}, {price} each"
            for line, price in zip(payment.lines, prices, strict=True)
        )

    @admin.display(description="metadata")
    def shown_metadata(self, payment: Payment) -> SafeString:
        """The merchant's own words, indented."""
        return format_html("<pre>{}</pre>", json.dumps(payment.metadata, indent=2, ensure_ascii=False))
