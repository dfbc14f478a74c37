"""Reads of users."""

from django.contrib.auth.models import AnonymousUser

from accounts.models import User


def owner_of(user: User | AnonymousUser) -> str | None:
    """Whose events this user may see, as the outbox writes owners; None for everyone's."""
    if not isinstance(user, User):
        return ""
    merchant = user.sees_merchant
    return None if merchant is None else str(merchant)
