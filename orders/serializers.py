"""What orders look like over REST: amounts are decimal strings, exact."""

from rest_framework import serializers

from contracts.money import minor_to_text
from orders.models import Order, OrderLine


class OrderLineOutput(serializers.ModelSerializer[OrderLine]):
    """One line of an order."""

    unit_price = serializers.SerializerMethodField(help_text='Exact, like "12.50".')

    class Meta:
        model = OrderLine
        fields = ("sku", "quantity", "unit_price")
        read_only_fields = fields

    def get_unit_price(self, line: OrderLine) -> str:
        """The price of one with exactly its currency's decimals."""
        return minor_to_text(line.unit_price_minor, line.order.currency)


class OrderOutput(serializers.ModelSerializer[Order]):
    """An order as its merchant sees it."""

    total = serializers.SerializerMethodField(help_text='Exact, like "12.50".')
    lines = OrderLineOutput(many=True)

    class Meta:
        model = Order
        fields = ("id", "payment_id", "customer_id", "total", "currency", "status", "lines", "created_at")
        read_only_fields = fields

    def get_total(self, order: Order) -> str:
        """The total with exactly its currency's decimals."""
        return minor_to_text(order.total_minor, order.currency)
