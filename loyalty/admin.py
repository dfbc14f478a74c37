"""Loyalty accounts and their ledger in the admin, read-only."""

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.http import HttpRequest

from accounts.readonly import ReadOnlyAdmin
from loyalty.models import Account, LedgerEntry


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts of all merchants' customers."""

    list_display = ("id", "merchant_id", "customer_id", "balance", "created_at")
    search_fields = ("id__exact", "merchant_id__exact", "customer_id__exact")
    search_help_text = "The whole id of an account, a merchant or a customer"
    fields = list_display

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        """Each with the sum of its ledger, in one query for all."""
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.annotate(sum=Sum("entries__points", default=0))

    @admin.display(description="balance", ordering="sum")
    def balance(self, account: Account) -> int:
        """The sum of the ledger."""
        return account.sum  # type: ignore[attr-defined,no-any-return]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Every entry of every ledger."""

    list_display = ("id", "account", "points", "reason", "payment_id", "created_at")
    list_filter = ("reason", "created_at")
    list_select_related = ("account",)
    search_fields = ("id__exact", "payment_id__exact", "account__customer_id__exact")
    search_help_text = "The whole id of an entry, a payment or a customer"
    fields = list_display
