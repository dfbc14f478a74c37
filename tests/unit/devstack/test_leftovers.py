"""What is ended after a killed run: this folder's servers, and nothing else on the machine."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack import leftovers as leftovers_module
from devstack.leftovers import end_leftovers, leftovers, marker

SLEEP = "import time; time.sleep(300)"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); " + SLEEP

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as started:

        def start(argument: str, code: str = SLEEP) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-c", code, argument]
            process = started.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            started.callback(process.kill)
            return process

        yield start


def test_only_this_folders_servers_are_ended(start: Start, tmp_path: Path) -> None:
    java = start(f"-D{marker(tmp_path)}")
    postgres = start(marker(tmp_path))
    neighbour = start(marker(Path(f"{tmp_path}-too")))
    reader = start(f"less {marker(tmp_path)}/log")

    assert {process.pid for process in leftovers(tmp_path)} == {java.pid, postgres.pid}
    assert end_leftovers(tmp_path) == 2
    assert java.wait() != 0
    assert postgres.wait() != 0
    assert neighbour.poll() is None
    assert reader.poll() is None


def test_server_that_does_not_listen_is_killed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers_module, "TIMEOUT", 0.1)
    deaf = start(marker(tmp_path), DEAF)
    assert deaf.stdout is not None
    assert deaf.stdout.readline() == b"deaf\n"

    end_leftovers(tmp_path)

    assert deaf.wait() == -9


def test_nothing_left_is_nothing_to_do(tmp_path: Path) -> None:
    assert end_leftovers(tmp_path) == 0
