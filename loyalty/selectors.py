"""Reads of loyalty accounts."""

from uuid import UUID

from django.db.models import Sum

from loyalty.errors import AccountNotFound
from loyalty.models import Account, LedgerEntry


def accounts_of_customer(*, customer_id: str, limit: int) -> list[Account]:
    """The customer's accounts with the first `limit` merchants that know them."""
    return list(Account.objects.filter(customer_id=customer_id).order_by("merchant_id")[:limit])


def get_account(*, merchant_id: UUID, customer_id: str) -> Account:
    """One account. Raises AccountNotFound."""
    try:
        return Account.objects.get(merchant_id=merchant_id, customer_id=customer_id)
    except Account.DoesNotExist:
        raise AccountNotFound() from None


def balance_of(*, account: Account) -> int:
    """The sum of the account's ledger."""
    balance: int = account.entries.aggregate(sum=Sum("points", default=0))["sum"]
    return balance


def latest_entries(*, account: Account, limit: int, before: UUID | None = None) -> list[LedgerEntry]:
    """The account's last entries, the latest first; those older than the entry `before`, if one is named."""
    entries = account.entries.order_by("-id")
    return list((entries if before is None else entries.filter(id__lt=before))[:limit])


def points_of(*, payment_id: UUID) -> int | None:
    """What the payment's entries come to: earned less reversed. None while there is none."""
    points: int | None = LedgerEntry.objects.filter(payment_id=payment_id).aggregate(sum=Sum("points"))["sum"]
    return points
