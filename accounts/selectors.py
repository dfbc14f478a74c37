"""Reads of users."""

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet

from accounts.models import User
from accounts.roles import MERCHANT


def merchants() -> QuerySet[User]:
    """Those for whom payments can be requested, by name."""
    return User.objects.filter(groups__name=MERCHANT, is_active=True).order_by("username")


def owner_of(user: User | AnonymousUser) -> str | None:
    """Whose events this user may see, as the outbox writes owners; None for everyone's."""
    if not isinstance(user, User):
        return ""
    merchant = user.sees_merchant
    return None if merchant is None else str(merchant)


def may_operate(user: User | AnonymousUser) -> bool:
    """Whether this user may act on what consumers could not process."""
    return isinstance(user, User) and user.may_operate
