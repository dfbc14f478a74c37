"""Running PostgreSQL, which refuses root, from root's own processes."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from devstack.errors import RootRefused

NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """Whom a server runs as: what goes before its command, and who must own its data."""

    prefix: tuple[str, ...] = ()
    owner: int = 0

    def command(self, arguments: Sequence[str | Path]) -> list[str | Path]:
        return [*self.prefix, *arguments]

    def own(self, folder: Path) -> None:
        """Give the account the folder and all in it; nothing to do, and no right to, for an ordinary user."""
        if os.geteuid() != 0 or folder.stat().st_uid == self.owner:
            return
        for parent, _, files in os.walk(folder):
            for name in (".", *files):
                os.chown(Path(parent, name), self.owner, self.owner, follow_symlinks=False)

    def works(self) -> bool:
        trial = [*self.prefix, "true"]
        try:
            return subprocess.run(trial, check=False, capture_output=True, timeout=10).returncode == 0  # noqa: S603
        except (OSError, subprocess.TimeoutExpired):
            return False


# An ordinary user needs nothing of this.
OURSELVES = Account()
# "Nobody" inside a user namespace is still root outside of it, and owner of root's files.
NAMESPACE = Account(prefix=("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"))
# Most containers allow no user namespace. There it is the real "nobody", who owns the data, and is let into
# the folders above it and the binaries, which root may have closed.
OTHER_USER = Account(
    prefix=(
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ),
    owner=NOBODY,
)


@cache
def unprivileged() -> Account:
    """The first way that works here; RootRefused when none does."""
    if os.geteuid() != 0:
        return OURSELVES
    for account in (NAMESPACE, OTHER_USER):
        if account.works():
            return account
    raise RootRefused
