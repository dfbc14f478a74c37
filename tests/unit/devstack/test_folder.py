import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from devstack import folder as folder_module
from devstack.errors import AlreadyRunning, FolderNotUsable, NotEnoughDisk, NotEnoughMemory
from devstack.folder import FolderLock, check_room, make_usable

PROJECT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from pathlib import Path
from devstack.folder import FolderLock
lock = FolderLock(Path(sys.argv[1]))
assert lock.try_acquire(announce=sys.argv[2] == "announce")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, how: str = "announce") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the folder's lock, until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_second_start_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with (
        holder(tmp_path) as first,
        pytest.raises(AlreadyRunning, match=rf"another demo is already running here \(pid {first.pid}\)"),
    ):
        FolderLock(tmp_path).acquire()


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        lock = FolderLock(tmp_path)
        lock.acquire()

    assert lock.owner() == os.getpid()
    lock.release()


def test_start_waits_while_a_guard_clears_up_after_a_killed_run(tmp_path: Path) -> None:
    """The guard holds the lock without writing its name; the name in it is the dead run's."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "lock").write_text(str(dead.pid))
    with holder(tmp_path, "quietly") as guard:
        lock = FolderLock(tmp_path)
        assert not lock.try_acquire()
        assert guard.stdin is not None
        guard.stdin.close()
        lock.acquire()

    assert lock.held
    lock.release()


def test_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    assert not second.try_acquire()
    first.release()

    assert second.try_acquire()
    second.release()


def test_folder_in_whose_place_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FolderNotUsable, match="choose another folder"):
        make_usable(tmp_path / "file" / "stack")


def test_full_disk_is_named_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "DISK_NEEDED", shutil.disk_usage(tmp_path).total * 2)

    with pytest.raises(NotEnoughDisk, match="MB free"):
        check_room(tmp_path)


def test_little_memory_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "MEMORY_NEEDED", psutil.virtual_memory().total * 2)

    with pytest.raises(NotEnoughMemory, match="MB of memory are free"):
        check_room(tmp_path)
