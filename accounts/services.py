"""Making users and their tokens, so that a second run changes nothing but what was asked."""

from collections.abc import Iterable

from django.contrib.auth.models import Group
from django.db import transaction
from rest_framework.authtoken.models import Token

from accounts.models import User


def ensure_user(
    *,
    username: str,
    password: str | None,
    groups: Iterable[str] = (),
    is_staff: bool = False,
    is_superuser: bool = False,
) -> User:
    """The user of this name, made when missing, with exactly these groups and rights.

    A password is set only where it differs, so that open sessions survive; None leaves a present password
    alone and gives a new user none that could be typed. The groups must exist.
    """
    with transaction.atomic():
        user, made = User.objects.select_for_update().get_or_create(username=username)
        user.is_staff = is_staff
        user.is_superuser = is_superuser
        if password is not None and not user.check_password(password):
            user.set_password(password)
        elif made and password is None:
            user.set_unusable_password()
        user.save()
        user.groups.set([Group.objects.get(name=name) for name in groups])
    return user


def ensure_token(*, user: User) -> str:
    """The user's API token, made when missing."""
    token, _ = Token.objects.get_or_create(user=user)
    return str(token.key)
