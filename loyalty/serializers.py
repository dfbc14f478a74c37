"""What loyalty accounts look like over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from loyalty.models import LedgerEntry

_EXAMPLE = {
    "customer_id": "c-1024",
    "merchant_id": "019a2f00-0000-7a10-b0aa-52d1c8a3e003",
    "balance": 12,
    "entries": [
        {
            "id": "019a2f6c-2118-7b42-93c1-6a1f0d2c8004",
            "points": 12,
            "reason": "earned",
            "payment_id": "019a2f6c-1f40-7cc1-9f6e-8d4b36b4a001",
            "created_at": "2026-01-02T03:05:00Z",
        }
    ],
    "next": None,
}


class LedgerEntryOutput(serializers.ModelSerializer[LedgerEntry]):
    """One entry of the ledger."""

    class Meta:
        model = LedgerEntry
        fields = ("id", "points", "reason", "payment_id", "created_at")
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("An account", _EXAMPLE)])
class AccountOutput(serializers.Serializer[Any]):
    """An account: the balance is the sum of all its entries, of which the latest are shown."""

    customer_id = serializers.CharField()
    merchant_id = serializers.UUIDField()
    balance = serializers.IntegerField()
    entries = LedgerEntryOutput(many=True)
    next = serializers.URLField(allow_null=True, help_text="The entries before these.")
