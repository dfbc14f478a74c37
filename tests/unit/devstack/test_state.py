import json
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from devstack import state
from devstack.errors import FolderNotUsable

ENVIRONMENT = {"DATABASE_URL": "postgresql://here/db", "KAFKA_BOOTSTRAP_SERVERS": "here:1", "OTHER": "x"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_running_stack_is_found_with_its_addresses(tmp_path: Path) -> None:
    state.announce(tmp_path, environment=ENVIRONMENT)

    running = state.running(tmp_path)
    assert running is not None
    assert running.pid == os.getpid()
    assert running.database_url == "postgresql://here/db"
    assert running.kafka_bootstrap == "here:1"
    assert state.environment(tmp_path) == ENVIRONMENT


def test_announcement_holds_a_password_and_is_its_owners_alone(tmp_path: Path) -> None:
    state.announce(tmp_path, environment=ENVIRONMENT)

    assert mode(tmp_path / "stack.json") == 0o600


def test_withdrawn_stack_is_not_found(tmp_path: Path) -> None:
    state.announce(tmp_path, environment=ENVIRONMENT)
    state.withdraw(tmp_path)

    assert state.running(tmp_path) is None
    assert state.environment(tmp_path) == {}


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "stack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_announcement_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    state.announce(tmp_path, environment=ENVIRONMENT)
    child = subprocess.Popen(["true"])
    child.wait()
    rewrite(tmp_path, pid=child.pid)

    assert state.running(tmp_path) is None


def test_announcement_whose_pid_was_given_to_another_process_is_not_believed(tmp_path: Path) -> None:
    state.announce(tmp_path, environment=ENVIRONMENT)
    rewrite(tmp_path, started=psutil.Process().create_time() - 60)

    assert state.running(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": 1, "unknown": 2}', '"text"'])
def test_announcement_that_cannot_be_read_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)

    assert state.running(tmp_path) is None


def test_folder_without_a_stack_is_no_error(tmp_path: Path) -> None:
    assert state.running(tmp_path / "absent") is None
    assert state.environment(tmp_path / "absent") == {}


def test_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    secret = state.secret_key(tmp_path / "new")

    assert len(secret) > 40
    assert state.secret_key(tmp_path / "new") == secret
    assert mode(tmp_path / "new" / "secret_key") == 0o600
    assert state.secret_key(tmp_path / "other") != secret


def test_threads_that_come_first_together_get_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: state.secret_key(tmp_path), range(8)))

    assert len(secrets) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_secret_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FolderNotUsable, match="secret_key"):
        state.secret_key(tmp_path / "file")
