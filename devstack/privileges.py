"""Starting a program that refuses to run as root."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from devstack.errors import FolderNotUsable

NOBODY = 65534
# Inside the namespace the program is "nobody"; outside, its files stay root's own.
NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


@dataclass(frozen=True)
class Account:
    """Whom a server runs as: a prefix to its command, or another user, or (neither) simply ourselves."""

    prefix: tuple[str, ...] = ()
    user: int | None = None

    def command(self, arguments: Sequence[str | Path]) -> list[str | Path]:
        return [*self.prefix, *arguments]

    def own(self, folder: Path) -> None:
        """Give the folder and all in it to the account; only root can, and only root has to."""
        if os.geteuid() != 0:
            return
        owner = self.user or 0
        if folder.stat().st_uid == owner:
            return
        for parent, folders, files in os.walk(folder):
            for name in (".", *folders, *files):
                os.chown(Path(parent, name), owner, owner, follow_symlinks=False)

    def check_reach(self, *paths: Path) -> None:
        """Raise FolderNotUsable when a parent folder of one of the paths is closed to the account."""
        if self.user is None:
            return
        for path in paths:
            for parent in path.resolve().parents:
                status = parent.stat()
                if not (status.st_mode & 0o001 or (status.st_uid == self.user and status.st_mode & 0o100)):
                    raise FolderNotUsable(
                        f"PostgreSQL refuses to run as root, and user {self.user} cannot enter {parent} on "
                        f"the way to {path}. Open that folder (chmod o+x), allow user namespaces (unshare "
                        "--user), or start as an ordinary user."
                    )


@cache
def unprivileged() -> Account:
    """Ourselves when we are an ordinary user.

    As root a user namespace where the system allows it, else "nobody", to whom the data folder is then given.
    """
    if os.geteuid() != 0:
        return Account()
    if _namespaces_allowed():
        return Account(prefix=NAMESPACE)
    return other_user()


def other_user() -> Account:
    try:
        return Account(user=pwd.getpwnam("nobody").pw_uid)
    except KeyError:
        return Account(user=NOBODY)


def _namespaces_allowed() -> bool:
    try:
        trial = subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return trial.returncode == 0
