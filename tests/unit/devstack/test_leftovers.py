"""What is ended after a killed run: this folder's servers, and nothing else on the machine."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devstack import leftovers as leftovers_module
from devstack.leftovers import end_leftovers, leftovers, marker

SLEEP = "import time; time.sleep(300)"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True); " + SLEEP

Start = Callable[..., psutil.Popen]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[psutil.Popen] = []

    def start(argument: str, code: str = SLEEP, **options: object) -> psutil.Popen:
        started.append(psutil.Popen([sys.executable, "-c", code, argument], **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_only_this_folders_servers_are_ended(start, tmp_path):
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


def test_server_that_does_not_listen_is_killed(start, tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers_module, "TIMEOUT", 0.1)
    deaf = start(marker(tmp_path), DEAF, stdout=-1)
    assert deaf.stdout.readline() == b"deaf\n"

    end_leftovers(tmp_path)

    assert deaf.wait() == -9


def test_nothing_left_is_nothing_to_do(tmp_path):
    assert end_leftovers(tmp_path) == 0
