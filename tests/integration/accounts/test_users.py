"""Users, groups and tokens."""

from uuid import UUID

import pytest
from django.contrib.auth.models import Group

from accounts.models import User
from accounts.roles import ROLES
from accounts.services import ensure_token, ensure_user

pytestmark = pytest.mark.django_db


def test_the_groups_are_there_from_the_first_migrate() -> None:
    assert set(ROLES) <= set(Group.objects.values_list("name", flat=True))


def test_ids_are_uuid7() -> None:
    user = ensure_user(username="shop", password="a-password")
    assert isinstance(user.id, UUID)
    assert user.id.version == 7


def test_a_second_run_changes_nothing() -> None:
    first = ensure_user(username="shop", password="a-password", groups=["merchant"])
    token = ensure_token(user=first)
    second = ensure_user(username="shop", password="a-password", groups=["merchant"])
    assert (second.id, second.password, ensure_token(user=second)) == (first.id, first.password, token)
    assert User.objects.count() == 1


def test_groups_rights_and_password_become_what_was_asked() -> None:
    ensure_user(username="shop", password="one", groups=["merchant", "viewer"])
    user = ensure_user(username="shop", password="two", groups=["operator"], is_staff=True, is_superuser=True)
    user = User.objects.get(id=user.id)
    assert user.check_password("two")
    assert [group.name for group in user.groups.all()] == ["operator"]
    assert (user.is_staff, user.is_superuser, user.is_merchant) == (True, True, False)


def test_without_a_password_nobody_can_sign_in_by_one() -> None:
    assert not ensure_user(username="shop", password=None).has_usable_password()
    ensure_user(username="shop", password="kept")
    assert ensure_user(username="shop", password=None).check_password("kept")


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(Group.DoesNotExist):
        ensure_user(username="shop", password=None, groups=["merchants"])
    assert not User.objects.exists()


def test_whom_a_user_may_see() -> None:
    shop = ensure_user(username="shop", password=None, groups=["merchant"])
    staff = ensure_user(username="staff", password=None, is_staff=True)
    assert shop.sees_merchant == shop.id
    assert staff.sees_merchant is None
