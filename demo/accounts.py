"""Who can sign in to the demo: random passwords and tokens, the same from run to run."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from accounts.roles import MERCHANT, OPERATOR
from accounts.services import ensure_token, ensure_user
from devstack.state import write_private

ACCOUNTS_FILE = "accounts.json"
PASSWORD_BYTES = 12


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the demo. `token` is empty for those who only sign in."""

    id: str
    username: str
    password: str
    token: str = ""


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Staff administer all; the operator sees all and acts for all; each merchant sees its own."""

    staff: Account
    operator: Account
    merchants: tuple[Account, Account]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The accounts made by the last run in this folder."""
        kept = json.loads((folder / ACCOUNTS_FILE).read_text(encoding="utf-8"))
        first, second = (Account(**merchant) for merchant in kept["merchants"])
        return cls(
            staff=Account(**kept["staff"]), operator=Account(**kept["operator"]), merchants=(first, second)
        )

    def write(self, folder: Path) -> None:
        """Keep them, for the owner's eyes only."""
        write_private(folder / ACCOUNTS_FILE, json.dumps(asdict(self), indent=2) + "\n")


def ensure_accounts(folder: Path) -> Accounts:
    """The demo's users in the database, with the passwords kept in the folder, or new ones."""
    passwords = _passwords(folder)
    made = Accounts(
        staff=_ensure("admin", passwords, groups=[OPERATOR], is_staff=True, is_superuser=True),
        operator=_ensure("operator", passwords, groups=[OPERATOR], is_staff=True),
        merchants=(
            _ensure("acme", passwords, groups=[MERCHANT], token=True),
            _ensure("bistro", passwords, groups=[MERCHANT], token=True),
        ),
    )
    made.write(folder)
    return made


def _passwords(folder: Path) -> dict[str, str]:
    """By user name; those of a broken or missing file are made anew."""
    try:
        kept = Accounts.read(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {account.username: account.password for account in (kept.staff, kept.operator, *kept.merchants)}


def _ensure(username: str, passwords: dict[str, str], *, token: bool = False, **rights: Any) -> Account:
    password = passwords.get(username) or secrets.token_urlsafe(PASSWORD_BYTES)
    user = ensure_user(username=username, password=password, **rights)
    return Account(
        id=str(user.pk),
        username=username,
        password=password,
        token=ensure_token(user=user) if token else "",
    )
