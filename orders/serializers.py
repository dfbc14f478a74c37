"""What orders look like over REST: amounts are decimal strings, exact."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from contracts.errors import MoneyError
from contracts.fields import (
    LARGEST_QUANTITY,
    LONGEST_ADDRESS,
    LONGEST_REASON,
    LONGEST_SKU,
    MOST_LINES,
    Line,
)
from contracts.money import Money, minor_to_text
from orders import examples
from orders.models import Cause, Order
from rest.serializers import (
    AddressField,
    AmountField,
    ProseField,
    StrictSerializer,
    TextField,
    WholeNumberField,
)


class OrderLineInput(StrictSerializer):
    """One line that an order is to have."""

    sku = TextField(max_length=LONGEST_SKU)
    quantity = WholeNumberField(min_value=1, max_value=LARGEST_QUANTITY)
    unit_price = AmountField()


@extend_schema_serializer(examples=[OpenApiExample("Another address and other lines", examples.CHANGE)])
class OrderChange(StrictSerializer):
    """What is to be different. Prices are in the order's currency, which `context` names."""

    schema_limits = {"minProperties": 1}
    shipping_address = AddressField(
        required=False, max_length=LONGEST_ADDRESS, help_text="Where to deliver, on one or more lines."
    )
    lines = OrderLineInput(  # type: ignore[call-arg]
        many=True,
        required=False,
        min_length=1,
        max_length=MOST_LINES,
        help_text="All lines that the order is to have; together they cost what it costs already.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `modify_order`, with exact money."""
        if not attrs:
            raise serializers.ValidationError("Give shipping_address, lines or both.", code="empty")
        if "lines" in attrs:
            attrs["lines"] = [
                Line(
                    sku=line["sku"],
                    quantity=line["quantity"],
                    unit_price_minor=self._price(line["unit_price"], index=index),
                )
                for index, line in enumerate(attrs["lines"])
            ]
        return attrs

    def _price(self, text: str, *, index: int) -> int:
        try:
            return Money.parse(text, self.context["currency"]).amount_minor
        except MoneyError as error:
            detail = serializers.ErrorDetail(str(error), code="invalid_amount")
            raise serializers.ValidationError({"lines": {str(index): {"unit_price": detail}}}) from None


@extend_schema_serializer(examples=[OpenApiExample("A reason", examples.REASON)])
class CancellationInput(StrictSerializer):
    """Why nothing is to be delivered."""

    reason = ProseField(
        max_length=LONGEST_REASON, help_text="For people; kept with the order, never sent in an event."
    )


class OrderLineOutput(serializers.Serializer[Any]):
    """One line of an order."""

    sku = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.CharField(help_text='Exact, like "12.50".')


@extend_schema_serializer(examples=[OpenApiExample("A new order", examples.CREATED)])
class OrderOutput(serializers.ModelSerializer[Order]):
    """An order as its merchant sees it."""

    total = serializers.SerializerMethodField(help_text='Exact, like "12.50".')
    lines = serializers.SerializerMethodField()
    shipping_address = serializers.SerializerMethodField(help_text="Null while none was given.")
    cause = serializers.SerializerMethodField(help_text="What cancelled it: a command, or the refund.")
    reason = serializers.SerializerMethodField(help_text="What was written with the command, if it was one.")

    class Meta:
        model = Order
        fields = [
            "id",
            "payment_id",
            "merchant_id",
            "customer_id",
            "total",
            "currency",
            "status",
            "lines",
            "shipping_address",
            "created_at",
            "modified_at",
            "cancelled_at",
            "cause",
            "reason",
        ]
        read_only_fields = fields

    def get_total(self, order: Order) -> str:
        """The total with exactly its currency's decimals."""
        return minor_to_text(order.total_minor, order.currency)

    @extend_schema_field(OrderLineOutput(many=True))
    def get_lines(self, order: Order) -> list[dict[str, Any]]:
        """The lines with prices as text."""
        return [
            {
                "sku": line.sku,
                "quantity": line.quantity,
                "unit_price": minor_to_text(line.unit_price_minor, order.currency),
            }
            for line in order.as_lines()
        ]

    def get_shipping_address(self, order: Order) -> str | None:
        """The address, or null."""
        return order.shipping_address or None

    @extend_schema_field(serializers.ChoiceField(choices=Cause.choices, allow_null=True))
    def get_cause(self, order: Order) -> str | None:
        """One word, or null until the order is cancelled."""
        return order.cause or None

    def get_reason(self, order: Order) -> str | None:
        """The text, or null when no command cancelled it."""
        return order.reason or None


@extend_schema_serializer(
    examples=[OpenApiExample("A cancelled order and its event", examples.CANCELLED | examples.EVENT)]
)
class OrderWithEvent(OrderOutput):
    """An order and the event that tells of what was just done to it."""

    event_id = serializers.UUIDField(help_text="Follow it at /api/events/{event_id}/.")

    class Meta(OrderOutput.Meta):
        fields = [*OrderOutput.Meta.fields, "event_id"]
        read_only_fields = fields


@extend_schema_serializer(
    examples=[OpenApiExample("A modified order and its event", examples.MODIFIED | examples.EVENT)]
)
class ChangedOrder(OrderOutput):
    """An order and the event that tells of its change, if anything was different."""

    event_id = serializers.UUIDField(
        allow_null=True, help_text="Follow it at /api/events/{event_id}/; null when nothing was different."
    )

    class Meta(OrderOutput.Meta):
        fields = [*OrderOutput.Meta.fields, "event_id"]
        read_only_fields = fields
