"""Reads of loyalty accounts."""

from uuid import UUID

from loyalty.errors import AccountNotFound
from loyalty.models import Account, LedgerEntry


def accounts_of_customer(*, customer_id: str) -> list[Account]:
    """The customer's accounts with every merchant, each with `balance`."""
    return list(Account.objects.filter(customer_id=customer_id).with_balance().order_by("merchant_id"))


def get_account(*, merchant_id: UUID, customer_id: str) -> Account:
    """One account with `balance`. Raises AccountNotFound."""
    try:
        return Account.objects.with_balance().get(merchant_id=merchant_id, customer_id=customer_id)
    except Account.DoesNotExist:
        raise AccountNotFound() from None


def latest_entries(*, account: Account, limit: int) -> list[LedgerEntry]:
    """The account's last entries, the latest first."""
    return list(account.entries.order_by("-id")[:limit])
