"""What loyalty accounts look like over REST."""

from typing import Any

from rest_framework import serializers

from loyalty.models import LedgerEntry


class LedgerEntryOutput(serializers.ModelSerializer[LedgerEntry]):
    """One entry of the ledger."""

    class Meta:
        model = LedgerEntry
        fields = ("id", "points", "reason", "payment_id", "created_at")
        read_only_fields = fields


class AccountOutput(serializers.Serializer[Any]):
    """An account: the balance is the sum of all its entries, of which the latest are shown."""

    customer_id = serializers.CharField()
    merchant_id = serializers.UUIDField()
    balance = serializers.IntegerField()
    entries = LedgerEntryOutput(many=True)
