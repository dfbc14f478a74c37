"""Loyalty accounts and their ledger in the admin, read-only."""

from django.contrib import admin
from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.readonly import ReadOnlyAdmin
from loyalty.models import Account, LedgerEntry


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts of all merchants' customers."""

    list_display = ("id", "merchant_id", "customer_id", "balance", "created_at")
    found_by = ("id", "merchant_id")
    search_help_text = "The whole id of an account or a merchant"
    fields = list_display

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        """Each with the sum of its own ledger: of those that are shown, and no others."""
        accounts: QuerySet[Account] = super().get_queryset(request)
        ledger = LedgerEntry.objects.filter(account=OuterRef("pk")).order_by().values("account")
        summed = Subquery(ledger.annotate(sum=Sum("points")).values("sum"), output_field=BigIntegerField())
        return accounts.annotate(sum=Coalesce(summed, 0))

    @admin.display(description="balance")
    def balance(self, account: Account) -> int:
        """The sum of the ledger."""
        return account.sum  # type: ignore[attr-defined,no-any-return]


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """Every entry of every ledger."""

    list_display = ("id", "account", "points", "reason", "payment_id", "created_at")
    list_filter = ("reason", "created_at")
    list_select_related = ("account",)
    found_by = ("id", "payment_id", "account_id")
    search_help_text = "The whole id of an entry, a payment or an account"
    fields = list_display
