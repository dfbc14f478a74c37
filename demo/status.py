"""demo.json: how to reach a running demo, for scripts and tests. It exists only while the demo is ready."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.accounts import Accounts
from demo.errors import NoDemo
from devstack.state import write_private

DEMO_FILE = "demo.json"


@dataclass(frozen=True, kw_only=True)
class DemoFile:
    """Written whole, readable by its owner alone; written again whenever a process gets a new pid."""

    folder: Path
    url: str
    accounts: Accounts
    kafka: str
    database: str

    def write(self, processes: Mapping[str, int]) -> None:
        """Say that the demo is ready, and what it consists of."""
        first, second = self.accounts.merchants
        content = {
            "url": self.url,
            "token": first.token,
            "merchant": first.id,
            "staff": {"username": self.accounts.staff.username, "password": self.accounts.staff.password},
            "second_merchant_token": second.token,
            "kafka": self.kafka,
            "database": self.database,
            "processes": dict(sorted(processes.items())),
        }
        write_private(self.folder / DEMO_FILE, json.dumps(content, indent=2) + "\n")


def remove_demo_file(folder: Path) -> None:
    """Say that no demo is ready here; also after one that was killed."""
    (folder / DEMO_FILE).unlink(missing_ok=True)


def read_demo_file(folder: Path) -> dict[str, Any]:
    """The running demo. Raises NoDemo."""
    try:
        content: dict[str, Any] = json.loads((folder / DEMO_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoDemo from None
    return content
