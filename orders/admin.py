"""Orders in the admin, read-only."""

from django.contrib import admin
from unfold.decorators import display

from accounts.readonly import ReadOnlyAdmin, ReadOnlyInline
from contracts.money import minor_to_text
from orders.models import Order, OrderLine, Status


class OrderLineInline(ReadOnlyInline):
    """The lines of the order."""

    model = OrderLine
    fields = ("position", "sku", "quantity", "unit_price")
    readonly_fields = fields

    @admin.display(description="unit price")
    def unit_price(self, line: OrderLine) -> str:
        """The exact price of one."""
        return minor_to_text(line.unit_price_minor, line.order.currency)


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders of all merchants."""

    list_display = (
        "id",
        "payment_id",
        "merchant_id",
        "customer_id",
        "total",
        "shown_status",
        "cause",
        "created_at",
    )
    list_filter = ("status", "created_at")
    found_by = ("id", "payment_id", "merchant_id")
    search_help_text = "The whole id of an order, a payment or a merchant"
    ordering = ("-id",)
    fields = (
        "id",
        "payment_id",
        "merchant_id",
        "customer_id",
        "total",
        "shown_status",
        "cause",
        "reason",
        "shipping_address",
        "created_at",
        "modified_at",
        "cancelled_at",
    )
    inlines = (OrderLineInline,)

    @admin.display(description="total")
    def total(self, order: Order) -> str:
        """The exact total with its currency."""
        return f"{minor_to_text(order.total_minor, order.currency)} {order.currency}"

    @display(
        description="status",
        label={
            Status.CREATED.value: "success",
            Status.MODIFIED.value: "info",
            Status.CANCELLED.value: "danger",
        },
    )
    def shown_status(self, order: Order) -> str:
        """The state, coloured."""
        return order.status
