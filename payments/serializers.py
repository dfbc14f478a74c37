"""What payments look like over REST: amounts are decimal strings, exact."""

from typing import Any

import msgspec
from django.core.validators import RegexValidator
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from contracts.errors import MoneyError, UnknownCurrency
from contracts.fields import (
    CUSTOMER_ID_PATTERN,
    LARGEST_QUANTITY,
    LONGEST_REASON,
    LONGEST_SKU,
    MOST_LINES,
    Line,
)
from contracts.money import CODES, Money, decimals_of, minor_to_text
from payments import examples
from payments.models import Cause, Payment
from rest.serializers import AmountField, ProseField, StrictSerializer, TextField, WholeNumberField

MOST_METADATA = 20
LONGEST_METADATA = 500


@extend_schema_field({"type": "string", "enum": CODES})
class CurrencyField(TextField):
    """An active code of ISO 4217, in capitals."""

    def to_internal_value(self, data: Any) -> str:
        """The very code."""
        code = super().to_internal_value(data)
        try:
            decimals_of(code)
        except UnknownCurrency as error:
            raise serializers.ValidationError(str(error), code="unknown_currency") from None
        return code


_opaque_reference = RegexValidator(
    CUSTOMER_ID_PATTERN, "1 to 100 letters, digits and . _ : - that begin with a letter or digit.", "pattern"
)


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": MOST_METADATA,
        "additionalProperties": {"type": "string", "maxLength": LONGEST_METADATA},
    }
)
class MetadataField(serializers.DictField):
    """Strings by name, for the merchant's own use."""

    child = TextField(max_length=LONGEST_METADATA, allow_blank=True)
    key = TextField(max_length=40)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """The very object. Names are checked as values are."""
        value: dict[str, str] = super().to_internal_value(data)
        if len(value) > MOST_METADATA:
            raise serializers.ValidationError(f"At most {MOST_METADATA} names are kept.", code="max_length")
        for name in value:
            try:
                self.key.run_validation(name)
            except serializers.ValidationError as error:
                raise serializers.ValidationError({name: error.detail}) from None
        return value


class LineInput(StrictSerializer):
    """One line of what is sold."""

    sku = TextField(max_length=LONGEST_SKU)
    quantity = WholeNumberField(min_value=1, max_value=LARGEST_QUANTITY)
    unit_price = AmountField()


@extend_schema_serializer(examples=[OpenApiExample("A payment with lines", examples.REQUEST)])
class PaymentInput(StrictSerializer):
    """A payment to be requested. Lines, when there are any, must add up to the amount."""

    customer_id = TextField(
        validators=[_opaque_reference],
        help_text="Your own opaque reference to the customer: never a name or an address.",
    )
    amount = AmountField()
    currency = CurrencyField(help_text="An active ISO 4217 code, like EUR.")
    lines = LineInput(many=True, required=False, max_length=MOST_LINES)  # type: ignore[call-arg]
    merchant = serializers.UUIDField(
        required=False, help_text="For operators: whose payment it is. Merchants request their own."
    )
    metadata = MetadataField(
        required=False, help_text=f"Up to {MOST_METADATA} strings by name; given back as they came."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `request_payment`, with exact money."""
        currency = attrs["currency"]
        return {
            "merchant_id": attrs.get("merchant"),
            "customer_id": attrs["customer_id"],
            "money": _money(attrs["amount"], currency, where=["amount"]),
            "lines": [
                Line(
                    sku=line["sku"],
                    quantity=line["quantity"],
                    unit_price_minor=_money(
                        line["unit_price"], currency, where=["lines", str(index), "unit_price"]
                    ).amount_minor,
                )
                for index, line in enumerate(attrs.get("lines", []))
            ],
            "metadata": attrs.get("metadata", {}),
        }


def _money(text: str, currency: str, *, where: list[str]) -> Money:
    try:
        return Money.parse(text, currency)
    except MoneyError as error:
        detail: Any = serializers.ErrorDetail(str(error), code="invalid_amount")
        for name in reversed(where):
            detail = {name: detail}
        raise serializers.ValidationError(detail) from None


@extend_schema_serializer(examples=[OpenApiExample("The default", {"flow": "choreography"})])
class ValidateInput(StrictSerializer):
    """How the rest is to follow from the validation."""

    flow = serializers.ChoiceField(
        choices=["choreography"],
        default="choreography",
        help_text="choreography: orders and loyalty react to the event on their own.",
        error_messages={"invalid_choice": "{input} is not available: choreography is the only flow so far."},
    )


@extend_schema_serializer(examples=[OpenApiExample("A reason", examples.REASON)])
class RejectionInput(StrictSerializer):
    """Why a payment will never be good."""

    reason = ProseField(
        max_length=LONGEST_REASON, help_text="For people; kept with the payment, never sent in an event."
    )


@extend_schema_serializer(examples=[OpenApiExample("A reason", examples.REASON)])
class RefundInput(StrictSerializer):
    """Why the money goes back."""

    reason = ProseField(
        max_length=LONGEST_REASON, help_text="For people; kept with the payment, never sent in an event."
    )


class LineOutput(serializers.Serializer[Any]):
    """One line of what is sold."""

    sku = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.CharField(help_text='Like "12.50".')


@extend_schema_serializer(examples=[OpenApiExample("A validated payment", examples.VALIDATED)])
class PaymentOutput(serializers.ModelSerializer[Payment]):
    """A payment as its merchant sees it."""

    amount = serializers.SerializerMethodField(help_text='Exact, like "12.50".')
    lines = serializers.SerializerMethodField()
    metadata = serializers.DictField(child=serializers.CharField())
    cause = serializers.SerializerMethodField(
        help_text="What rejected or refunded it: a command, its deadline, or the end of its order."
    )
    reason = serializers.SerializerMethodField(help_text="What was written with the command, if it was one.")

    class Meta:
        model = Payment
        fields = [
            "id",
            "merchant_id",
            "customer_id",
            "amount",
            "currency",
            "status",
            "lines",
            "metadata",
            "created_at",
            "expires_at",
            "validated_at",
            "rejected_at",
            "refunded_at",
            "cause",
            "reason",
        ]
        read_only_fields = fields

    def get_amount(self, payment: Payment) -> str:
        """The amount with exactly its currency's decimals."""
        return minor_to_text(payment.amount_minor, payment.currency)

    @extend_schema_field(serializers.ChoiceField(choices=Cause.choices, allow_null=True))
    def get_cause(self, payment: Payment) -> str | None:
        """One word, or null while the payment is pending or validated."""
        return payment.cause or None

    def get_reason(self, payment: Payment) -> str | None:
        """The text, or null when no command rejected or refunded it."""
        return payment.reason or None

    @extend_schema_field(LineOutput(many=True))
    def get_lines(self, payment: Payment) -> list[dict[str, Any]]:
        """The lines with prices as text."""
        return [
            {
                "sku": line.sku,
                "quantity": line.quantity,
                "unit_price": minor_to_text(line.unit_price_minor, payment.currency),
            }
            for line in msgspec.convert(payment.lines, list[Line])
        ]


@extend_schema_serializer(
    examples=[OpenApiExample("A payment and its event", examples.VALIDATED | examples.EVENT)]
)
class PaymentWithEvent(PaymentOutput):
    """A payment and the event that tells of what was just done to it."""

    event_id = serializers.UUIDField(help_text="Follow it at /api/events/{event_id}/.")

    class Meta(PaymentOutput.Meta):
        fields = [*PaymentOutput.Meta.fields, "event_id"]
        read_only_fields = fields
