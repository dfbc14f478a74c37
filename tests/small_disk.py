"""A disk that can be filled without harm."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

import pytest

_BLOCK = b"\0" * 65_536


class SmallDisk:
    """A file system of its own below a folder."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no room."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (len(_BLOCK), 1):
                try:
                    while ballast.write(_BLOCK[:size]):
                        pass
                except OSError as error:
                    if error.errno != ENOSPC:
                        raise

    def make_room(self) -> None:
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """In memory. It takes a root that may mount; whatever uses it must have ended by the block's end."""
    if os.geteuid():
        tell = pytest.fail if os.environ.get("CI") else pytest.skip
        tell("A disk that can be filled is mounted, and only root may mount: run this test as root.")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
