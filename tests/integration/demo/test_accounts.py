"""Who can sign in to the demo."""

import stat
from pathlib import Path

import pytest
from rest_framework.authtoken.models import Token

from accounts.models import User
from demo.accounts import ACCOUNTS_FILE, Accounts, ensure_accounts

pytestmark = pytest.mark.django_db


def test_users_keep_their_passwords_and_tokens_from_run_to_run(tmp_path: Path) -> None:
    first = ensure_accounts(tmp_path)
    assert ensure_accounts(tmp_path) == first == Accounts.read(tmp_path)
    assert stat.S_IMODE((tmp_path / ACCOUNTS_FILE).stat().st_mode) == 0o600


def test_each_may_do_what_its_name_says(tmp_path: Path) -> None:
    made = ensure_accounts(tmp_path)
    staff, operator = (User.objects.get(username=one.username) for one in (made.staff, made.operator))
    assert (staff.is_superuser, staff.is_staff) == (True, True)
    assert (operator.is_superuser, operator.is_staff) == (False, True)
    assert [group.name for group in operator.groups.all()] == ["operator"]
    for merchant in made.merchants:
        user = User.objects.get(id=merchant.id)
        assert user.is_merchant
        assert not user.is_staff
        assert user.check_password(merchant.password)
        assert Token.objects.get(user=user).key == merchant.token
    passwords = {one.password for one in (made.staff, made.operator, *made.merchants)}
    assert len(passwords) == 4


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"merchants": []}'])
def test_a_broken_file_means_new_passwords(tmp_path: Path, content: str) -> None:
    before = ensure_accounts(tmp_path)
    (tmp_path / ACCOUNTS_FILE).write_text(content)
    after = ensure_accounts(tmp_path)
    assert after.staff.password != before.staff.password
    assert User.objects.get(username=after.staff.username).check_password(after.staff.password)
    assert after.merchants[0].token == before.merchants[0].token
