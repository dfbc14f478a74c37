"""What a running stack writes down for others: how to reach it, and who it is.

Read by the project's settings, so that `manage.py` in a second terminal finds the demo's database and Kafka.
"""

import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from devstack.errors import FolderNotUsable

STACK_FILE = "stack.json"
SECRET_KEY_FILE = "secret_key"  # noqa: S105 - a file's name


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """A live stack. `pid` and `started` together name its process: a pid alone may have been given again."""

    pid: int
    started: float
    environment: dict[str, str]

    @property
    def database_url(self) -> str:
        return self.environment["DATABASE_URL"]

    @property
    def kafka_bootstrap(self) -> str:
        return self.environment["KAFKA_BOOTSTRAP_SERVERS"]

    @property
    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def running(folder: Path) -> RunningStack | None:
    """The stack that runs in this folder now, or None. A file left by a killed one is not believed."""
    try:
        stack = RunningStack(**json.loads((folder / STACK_FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, PermissionError, ValueError, TypeError):
        return None
    return stack if stack.alive else None


def environment(folder: Path) -> dict[str, str]:
    """The environment variables with which a process joins the running stack; empty when none runs."""
    stack = running(folder)
    return dict(stack.environment) if stack else {}


def announce(folder: Path, *, environment: dict[str, str]) -> None:
    """Write down that this process runs the stack."""
    process = psutil.Process()
    stack = RunningStack(pid=process.pid, started=process.create_time(), environment=environment)
    write_private(folder / STACK_FILE, json.dumps(asdict(stack), indent=2) + "\n")


def withdraw(folder: Path) -> None:
    """Take the announcement back."""
    (folder / STACK_FILE).unlink(missing_ok=True)


def secret_key(folder: Path) -> str:
    """A random key of this folder, made once: sessions outlive a restart of the demo."""
    return kept_secret(folder / SECRET_KEY_FILE)


def kept_secret(path: Path) -> str:
    """The file's secret, made on first use. Several processes that come first together get the same one."""
    for _ in range(2):
        try:
            if secret := path.read_text(encoding="ascii").strip():
                return secret
        except FileNotFoundError:
            pass
        except OSError as error:
            raise FolderNotUsable(f"{path} cannot be read: {error}") from error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = _private_file(path.parent, secrets.token_urlsafe(48) + "\n")
            try:
                # A link appears whole and only once; whoever comes second reads the first one's.
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        except OSError as error:
            raise FolderNotUsable(f"{path} cannot be written: {error}") from error
    raise FolderNotUsable(f"{path} is empty: delete it.")


def write_private(path: Path, text: str) -> None:
    """Put a file that only its owner may read in place, whole or not at all."""
    _private_file(path.parent, text).replace(path)


def _private_file(folder: Path, text: str) -> Path:
    """A new file with a name of its own that only its owner may read."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".new-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
