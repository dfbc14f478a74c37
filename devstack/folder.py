"""The stack's folder: usable, and used by one stack at a time."""

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import IO

import psutil

from devstack.errors import AlreadyRunning, FolderNotUsable, NotEnoughDisk, NotEnoughMemory

DISK_NEEDED = 500_000_000
MEMORY_NEEDED = 400_000_000
GUARD_TIME = 20.0


class FolderLock:
    """Held by the process that runs the folder's stack.

    The system lets go of it when that process ends, however it ends: no stale lock can exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock or raise AlreadyRunning.

        Waits while a guard still ends the servers of a killed run: the process named in the lock is dead.
        """
        deadline = time.monotonic() + GUARD_TIME
        while not self.try_acquire():
            owner = self.owner()
            if owner is None or psutil.pid_exists(owner) or time.monotonic() > deadline:
                raise AlreadyRunning(self._folder, owner)
            time.sleep(0.05)

    def try_acquire(self, *, announce: bool = True) -> bool:
        """Take the lock if it is free; with `announce`, write down that it is ours."""
        try:
            file = self._path.open("a+", encoding="ascii")
        except OSError as error:
            raise FolderNotUsable(f"{self._folder} is not usable: {error}. Choose another folder.") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        if announce:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        self._file = file
        return True

    @property
    def held(self) -> bool:
        return self._file is not None

    def release(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def owner(self) -> int | None:
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    @property
    def _path(self) -> Path:
        return self._folder / "lock"


def make_usable(folder: Path) -> None:
    """Make the folder, for its owner's eyes alone; FolderNotUsable when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FolderNotUsable(
            f"The stack cannot write in {folder}: {error}. Give it to this user, or choose another folder."
        ) from error


def check_room(folder: Path) -> None:
    """Refuse early, and in words, what would fail late and obscurely."""
    disk = shutil.disk_usage(folder).free
    if disk < DISK_NEEDED:
        raise NotEnoughDisk(
            f"{folder} has {_megabytes(disk)} free; PostgreSQL and Kafka need "
            f"about {_megabytes(DISK_NEEDED)}: make room, or choose another folder."
        )
    memory = psutil.virtual_memory().available
    if memory < MEMORY_NEEDED:
        raise NotEnoughMemory(
            f"{_megabytes(memory)} of memory are free; PostgreSQL and Kafka need about "
            f"{_megabytes(MEMORY_NEEDED)}: end other programs first."
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
