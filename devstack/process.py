"""One server process, and finding what an earlier run left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from devstack.errors import FolderNotUsable, ServerFailed, ServerMissing

LOG_LIMIT = 10_000_000
POLL = 0.02


def marker(folder: Path) -> str:
    """What every process of a folder's stack carries in its command line, so that it can be told from any other."""
    return f"devstack.folder={folder}"


class ServerProcess:
    """A server in a session of its own: a Ctrl-C in the terminal reaches us alone, and we end it in order."""

    def __init__(self, name: str, *, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it lives."""
        return self._process.pid if self._process and self.alive else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(
        self, command: Sequence[str | Path], *, env: Mapping[str, str], account: int | None = None
    ) -> None:
        """Start the command, as another user when `account` is given; its output is appended to the log."""
        try:
            _rotate(self.log)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own servers
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=self.log.parent,
                    start_new_session=True,
                    user=account,
                    group=account,
                    extra_groups=None if account is None else [],
                )
        except FileNotFoundError as error:
            raise ServerMissing(f"{error.filename} is missing: install requirements.txt again.") from error
        except PermissionError as error:
            raise FolderNotUsable(f"{self.name} cannot be started: {error}") from error

    def wait_until(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Return when `ready()`; raise ServerFailed with the log's end when the process dies or time is up."""
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

    def terminate(self, how: signal.Signals, *, timeout: float) -> None:
        """Ask the server to end; kill it and its children when it has not done so in time."""
        if not self._process:
            return
        if self.alive:
            self._process.send_signal(how)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and all its children; returns when all of them are gone.

        Children are looked for one by one: PostgreSQL puts each of its processes into a group of its own.
        """
        if not self._process:
            return
        if self.alive:
            kill_tree(psutil.Process(self._process.pid))
        self._process.wait()

    def failure(self, what: str) -> ServerFailed:
        return ServerFailed(what, log=self.log, lines=last_lines(self.log))


def kill_tree(process: psutil.Process) -> None:
    """SIGKILL to a process and all below it, and wait until they are gone."""
    try:
        # Held still meanwhile, so that it starts nothing between being looked at and being killed.
        process.suspend()
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)


def leftovers(folder: Path) -> list[psutil.Process]:
    """Living processes whose command line carries this very folder's mark: never a pid out of a file."""
    mark = marker(folder)
    found = []
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if process.pid != os.getpid() and any(argument in (mark, f"-D{mark}") for argument in arguments):
            found.append(process)
    return found


def end_leftovers(folder: Path, *, timeout: float = 10) -> int:
    """End what a killed run left in this folder: in order first, by force afterwards. Returns how many there were.

    SIGINT is PostgreSQL's fast shutdown, and Java's ordinary one.
    """
    found = leftovers(folder)
    for process in found:
        try:
            process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(found, timeout=timeout)
    for process in alive:
        kill_tree(process)
    return len(found)


def run_once(
    command: Sequence[str | Path], *, what: str, env: Mapping[str, str], cwd: Path, account: int | None = None
) -> None:
    """Run a preparing command to its end; ServerFailed with its output when it fails."""
    try:
        result = subprocess.run(  # noqa: S603 - our own commands
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            timeout=120,
            start_new_session=True,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
        )
    except FileNotFoundError as error:
        raise ServerMissing(f"{error.filename} is missing: install requirements.txt again.") from error
    except PermissionError as error:
        raise FolderNotUsable(f"{what} cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise ServerFailed(f"{what} did not end within {error.timeout:.0f} s.") from error
    if result.returncode:
        raise ServerFailed(
            f"{what} failed (exit status {result.returncode}).",
            lines=_tail(result.stdout.decode(errors="replace")),
        )


def last_lines(log: Path, *, count: int = 12) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8_000))
            return _tail(file.read().decode(errors="replace"), count=count)
    except OSError:
        return ""


def _tail(text: str, *, count: int = 12) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-count:])


def _rotate(log: Path) -> None:
    """Keep one older log: a demo left running for weeks fills no disk."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.old"))
