"""Nothing is left running, whoever is killed; and nobody starts twice in one folder."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import psutil
import pytest

from devstack import state
from devstack.errors import AlreadyRunning
from devstack.jars import REPOSITORY_VARIABLE
from devstack.leftovers import leftovers
from devstack.privileges import NOBODY
from devstack.process import wait_gone
from devstack.stack import Stack
from tests.integration.devstack.ledger import JARS, PROJECT, commit, committed
from tests.integration.devstack.waiting import DEADLINE, wait_for


@contextmanager
def starting(
    folder: Path, *, prefix: tuple[str, ...] = (), jars: Path = JARS
) -> Iterator[subprocess.Popen[str]]:
    """`python -m devstack run` in a process of its own."""
    run: list[str | Path] = ["-m", "devstack", "run", "--folder", folder, "--jars", jars]
    command = [*prefix, sys.executable, *run]
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()  # and its guard ends the servers
                raise


@contextmanager
def running(folder: Path, *, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """The same, ready."""
    with starting(folder, prefix=prefix) as process:
        wait_for(lambda: state.running(folder) is not None or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process


def guard_of(process: subprocess.Popen[str]) -> psutil.Process:
    (guard,) = (
        child for child in psutil.Process(process.pid).children() if "devstack.guard" in child.cmdline()
    )
    return guard


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_all_in_order(tmp_path: Path, how: signal.Signals) -> None:
    with running(tmp_path) as process:
        guard = guard_of(process)
        process.send_signal(how)
        asked = time.monotonic()
        assert process.wait(DEADLINE) == 0

    assert time.monotonic() - asked < 10
    assert leftovers(tmp_path) == []
    assert not guard.is_running()
    assert not (tmp_path / "stack.json").exists()


def test_start_can_be_given_up(tmp_path: Path) -> None:
    with starting(tmp_path) as process:
        wait_for(lambda: leftovers(tmp_path) != [])
        assert state.running(tmp_path) is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0

    assert leftovers(tmp_path) == []


def test_endless_download_can_be_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping_repository() as address:
        monkeypatch.setenv(REPOSITORY_VARIABLE, address)
        with starting(tmp_path, jars=tmp_path / "jars") as process:
            wait_for(lambda: list(tmp_path.glob("jars/.*.part")) != [])
            process.send_signal(signal.SIGINT)
            assert process.wait(DEADLINE) == 0

    assert leftovers(tmp_path) == []


@contextmanager
def dripping_repository() -> Iterator[str]:
    """Answers everything with a file that never ends."""
    ended = threading.Event()

    class Drip(BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with suppress(OSError):
                while not ended.wait(0.05):
                    self.request.sendall(b"drip")

    with ThreadingTCPServer(("127.0.0.1", 0), Drip) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def test_second_start_in_a_folder_is_refused_and_harms_nothing(own_stack: Stack) -> None:
    with running(own_stack.folder) as process:
        before = {server.pid for server in leftovers(own_stack.folder)}

        with pytest.raises(AlreadyRunning, match=rf"already running here \(pid {process.pid}\)"):
            own_stack.start()
        own_stack.stop()

        assert {server.pid for server in leftovers(own_stack.folder)} == before
        assert len(before) == 2
        assert state.running(own_stack.folder) is not None


def test_killed_run_leaves_nothing_running_and_loses_nothing(own_stack: Stack) -> None:
    with running(own_stack.folder) as process:
        found = state.running(own_stack.folder)
        assert found is not None
        commit(found.database_url, "one")
        process.kill()
        process.wait()

        wait_for(lambda: leftovers(own_stack.folder) == [])
        assert state.running(own_stack.folder) is None

    own_stack.start()
    assert own_stack.database_url == found.database_url
    assert committed(own_stack.database_url) == ["one"]


def test_servers_left_without_a_guard_are_ended_by_the_next_start(own_stack: Stack) -> None:
    with running(own_stack.folder) as process:
        found = state.running(own_stack.folder)
        assert found is not None
        commit(found.database_url, "one")
        left = leftovers(own_stack.folder)
        guard_of(process).kill()
        process.kill()
        process.wait()

    assert {server.pid for server in leftovers(own_stack.folder)} == {server.pid for server in left}
    own_stack.start()
    assert wait_gone(left, timeout=0) == []
    assert own_stack.database_url == found.database_url
    assert committed(own_stack.database_url) == ["one"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that belongs to an ordinary user, below none that is closed to it."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


def test_ordinary_user_runs_both(home: Path) -> None:
    """As root the test becomes "nobody"; the jars are then another user's."""
    with running(home, prefix=become_nobody() if os.geteuid() == 0 else ()):
        found = state.running(home)
        assert found is not None
        commit(found.database_url, "one")
        assert committed(found.database_url) == ["one"]
        servers = leftovers(home)
        assert len(servers) == 2
        assert all(server.uids().effective != 0 for server in servers)
        assert (home / "stack.json").stat().st_uid == servers[0].uids().effective

    assert leftovers(home) == []


def become_nobody() -> tuple[str, ...]:
    """Give up root; keep only the right to enter folders, where root has closed Python's or the project's."""
    plain = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    # By way of env, because setpriv itself is root until it has become the program it was asked for.
    trial = subprocess.run([*plain, "env", sys.executable, "--version"], check=False, capture_output=True)
    if trial.returncode == 0:
        return plain
    return (*plain, "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
