"""Users, groups and tokens."""

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import AnonymousUser, Group

from accounts.models import User
from accounts.roles import ROLES
from accounts.selectors import owner_of
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


ALL, OWN = "all", "own"


@pytest.mark.parametrize(
    ("groups", "staff", "superuser", "sees", "acts_for", "asks"),
    [
        ([], False, False, OWN, OWN, False),
        (["merchant"], False, False, OWN, OWN, True),
        (["viewer"], False, False, ALL, OWN, False),
        (["operator"], False, False, ALL, ALL, False),
        ([], True, False, ALL, OWN, False),
        (["viewer"], True, False, ALL, OWN, False),
        (["operator"], True, False, ALL, ALL, False),
        ([], False, True, ALL, ALL, False),
        (["merchant", "viewer"], False, False, ALL, OWN, True),
        (["merchant"], True, False, ALL, OWN, True),
        (["merchant", "operator"], False, False, ALL, ALL, True),
        (["operator"], True, True, ALL, ALL, False),
    ],
)
def test_whose_rows_a_user_may_see_and_act_on(
    groups: list[str], staff: bool, superuser: bool, sees: str, acts_for: str, asks: bool
) -> None:
    user = ensure_user(
        username="someone", password=None, groups=groups, is_staff=staff, is_superuser=superuser
    )
    assert user.sees_merchant == (None if sees == ALL else user.id)
    assert user.acts_for_merchant == (None if acts_for == ALL else user.id)
    assert user.may_operate == (acts_for == ALL)
    assert user.is_merchant == asks
    assert owner_of(user) == (None if sees == ALL else str(user.id))


def test_nobody_owns_no_events() -> None:
    assert owner_of(AnonymousUser()) == ""


def test_the_rights_of_a_user_are_asked_for_once(django_assert_num_queries: Any) -> None:
    user = User.objects.get(id=ensure_user(username="shop", password=None, groups=["merchant"]).id)
    with django_assert_num_queries(1):
        assert user.is_merchant
        assert not user.may_operate
        assert user.sees_merchant == user.acts_for_merchant == user.id


@pytest.mark.parametrize(("role", "sees"), [("viewer", True), ("operator", True), ("merchant", False)])
@pytest.mark.parametrize("model", ["payments.view_payment", "orders.view_order", "outbox.view_deadletter"])
def test_the_admin_shows_operators_and_viewers_the_services_rows(role: str, sees: bool, model: str) -> None:
    user = ensure_user(username="someone", password=None, groups=[role], is_staff=True)
    assert user.has_perm(model) == sees
    assert not user.has_perm(model.replace("view", "change"))
    assert not user.has_perm("accounts.view_user")
