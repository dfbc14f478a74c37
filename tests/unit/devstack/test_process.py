import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devstack.errors import ServerFailed, ServerMissing
from devstack.process import ServerProcess, run_once

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess("Server", log=tmp_path / "server.log")
    yield process
    process.kill()


def spawn(server: ServerProcess, code: str) -> None:
    server.spawn([sys.executable, "-u", "-c", code], env=ENVIRONMENT, cwd=server.log.parent)


def said(server: ServerProcess, word: str) -> bool:
    return word in server.log.read_text()


def test_server_that_dies_is_reported_with_its_last_words(server: ServerProcess) -> None:
    spawn(server, "print('no space left'); raise SystemExit(3)")

    with pytest.raises(ServerFailed, match=r"(?s)exit status 3.*no space left.*server\.log"):
        server.wait_until(lambda: False, timeout=30)


def test_server_that_is_not_ready_in_time_is_ended_and_reported(server: ServerProcess) -> None:
    spawn(server, "import time; time.sleep(300)")

    with pytest.raises(ServerFailed, match="not ready within"):
        server.wait_until(lambda: False, timeout=0.1)

    assert not server.alive


def test_server_that_ignores_the_request_to_end_is_killed(server: ServerProcess) -> None:
    spawn(server, "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf'); time.sleep(300)")
    server.wait_until(lambda: said(server, "deaf"), timeout=30)

    server.signal(signal.SIGTERM)
    server.wait_end(timeout=0.1)

    assert server.exit_status == -signal.SIGKILL


def test_kill_reaches_children_that_made_groups_of_their_own(server: ServerProcess) -> None:
    child = "import os, time; os.setsid(); print('child', os.getpid(), flush=True); time.sleep(300)"
    spawn(server, f"import subprocess, sys; subprocess.run([sys.executable, '-u', '-c', {child!r}])")
    server.wait_until(lambda: said(server, "child"), timeout=30)
    (orphan,) = psutil.Process(server.pid).children()

    server.kill()

    assert not server.alive
    assert server.pid is None
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_program_that_is_missing_is_named(server: ServerProcess, tmp_path: Path) -> None:
    with pytest.raises(ServerMissing, match="no-such-server"):
        server.spawn([tmp_path / "no-such-server"], env=ENVIRONMENT, cwd=tmp_path)


def test_preparing_command_that_fails_shows_its_output(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)Preparing failed \(exit status 2\).*because"):
        run_once(["sh", "-c", "echo because; exit 2"], what="Preparing", env=ENVIRONMENT, cwd=tmp_path)


def test_long_log_is_put_aside(server: ServerProcess) -> None:
    server.log.write_bytes(b"x" * 10_000_001)

    spawn(server, "print('anew')")
    server.wait_end(timeout=30)

    assert server.log.read_text() == "anew\n"
    assert server.log.with_suffix(".log.old").stat().st_size == 10_000_001
