import subprocess
import sys
from pathlib import Path

import pytest

from devstack import state
from devstack.errors import LockFileInvalid, NotEmbedded, NotStarted
from devstack.lockfile import read_lock
from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parents[3]
GIVEN = {"DATABASE_URL": "postgresql://there/db", "KAFKA_BOOTSTRAP_SERVERS": "there:9092"}


def test_given_servers_are_taken_as_they_are(tmp_path: Path) -> None:
    with Stack(tmp_path, environ=GIVEN) as stack:
        assert stack.environment() | GIVEN == stack.environment()
        assert state.environment(tmp_path) == stack.environment()
        with pytest.raises(NotEmbedded, match="DATABASE_URL"):
            stack.postgres.kill()
        with pytest.raises(NotEmbedded, match="KAFKA_BOOTSTRAP_SERVERS"):
            stack.kafka.kill()

    assert state.running(tmp_path) is None


def test_empty_variable_gives_nothing(tmp_path: Path) -> None:
    stack = Stack(tmp_path, environ=dict.fromkeys(GIVEN, ""))

    with pytest.raises(NotStarted):
        stack.postgres  # noqa: B018
    with pytest.raises(NotStarted):
        stack.database_url  # noqa: B018


def test_making_a_stack_does_nothing_and_stopping_it_unstarted_neither(tmp_path: Path) -> None:
    Stack(tmp_path / "stack", environ={}).stop()

    assert not (tmp_path / "stack").exists()


def test_start_that_fails_lets_go_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("devstack.jars.read_lock", lambda path: read_lock(tmp_path / "absent"))
        with pytest.raises(LockFileInvalid):
            Stack(tmp_path, environ={"DATABASE_URL": "given"}).start()

    with Stack(tmp_path, environ=GIVEN):
        pass


def test_importing_it_needs_no_django() -> None:
    code = "import sys, devstack.stack, devstack.__main__; assert 'django' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT)
