"""One server process: spawned, awaited, ended, killed with all its children."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from devstack.errors import FolderNotUsable, ServerFailed, ServerMissing

LOG_LIMIT = 10_000_000
POLL = 0.02
RUN_TIMEOUT = 120.0
KILL_TIMEOUT = 10.0


class ServerProcess:
    """A server in a session of its own: a Ctrl-C in the terminal reaches us alone, and we end it in order."""

    def __init__(self, name: str, *, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The server's process id while it lives."""
        return self._process.pid if self._process and self.alive else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path) -> None:
        """Start the command; its output is appended to the log."""
        try:
            _rotate(self.log)
            with self.log.open("ab") as log:
                self._log_start = log.tell()
                self._process = subprocess.Popen(  # noqa: S603 - our own servers
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise ServerMissing(f"{error.filename} is missing: install requirements.txt again.") from error
        except PermissionError as error:
            raise FolderNotUsable(f"{self.name} cannot be started: {error}") from error

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Return when `ready()`; ServerFailed with the log's end when the process dies or time is up."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.alive:
                raise self.failure(f"{self.name} ended instead of starting (exit status {self.exit_status}).")
            if time.monotonic() > deadline:
                self.kill()
                raise self.failure(f"{self.name} was not ready within {timeout:.0f} s, and was ended.")
            time.sleep(POLL)

    @property
    def exit_status(self) -> int | None:
        return self._process.poll() if self._process else None

    def signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)  # which does nothing to a process that has ended

    def wait_end(self, *, timeout: float, check: Callable[[], None] = lambda: None) -> None:
        """Return when the process has ended; kill it when that takes too long. `check` may raise."""
        deadline = time.monotonic() + timeout
        while self.alive:
            check()
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(POLL)

    def kill(self) -> None:
        """SIGKILL to the server and all its children; returns when all of them are gone.

        Children are looked for one by one: PostgreSQL puts each of its processes into a group of its own.
        """
        if self._process and self.alive:
            kill_tree(psutil.Process(self._process.pid))
            self._process.wait()

    def last_lines(self, *, count: int = 12) -> str:
        """The end of what this run of the server said."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 8_000))
            lines = log.read().decode(errors="replace").splitlines()
            return "\n".join(f"    {line}" for line in lines[-count:])
        return ""

    def failure(self, what: str) -> ServerFailed:
        return ServerFailed(what, log=self.log, lines=self.last_lines())


def run_once(command: Sequence[str | Path], *, what: str, env: Mapping[str, str], cwd: Path) -> None:
    """Run a preparing command to its end; ServerFailed with its output when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        process = ServerProcess(what, log=Path(folder, "output"))
        process.spawn(command, env=env, cwd=cwd)
        process.wait_end(timeout=RUN_TIMEOUT)
        if process.exit_status:
            raise ServerFailed(
                f"{what} failed (exit status {process.exit_status}).", lines=process.last_lines()
            )


def kill_tree(process: psutil.Process) -> None:
    """SIGKILL to a process and all below it, and wait until they are gone."""
    try:
        # Held still meanwhile, so that it starts nothing between being looked at and being killed.
        process.suspend()
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    wait_gone(family, timeout=KILL_TIMEOUT)


def wait_gone(processes: Sequence[psutil.Process], *, timeout: float) -> list[psutil.Process]:
    """Wait for processes that may not be our children; returns those still there.

    A zombie counts as gone: in a container there may be nobody to reap it.
    """
    deadline = time.monotonic() + timeout
    while (alive := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(POLL / 4)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _rotate(log: Path) -> None:
    """Keep one older log: a demo left running for weeks fills no disk."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.old"))
