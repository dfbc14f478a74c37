"""What the tests of the demo share."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.demo.running import RunningDemo


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Gone at the end; pytest's own would keep the databases of several runs."""
    parent = Path(tempfile.mkdtemp(prefix="es-demo-"))
    try:
        yield parent / "stack"
    finally:
        shutil.rmtree(parent)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a demo. The one in .devstack may be in use, and is not the tests' to touch."""
    with _temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="package")
def demo() -> Iterator[RunningDemo]:
    """A demo that runs, and ends in order: nothing is left of it but what the next one needs."""
    with _temporary_folder() as folder:
        running = RunningDemo(folder)
        yield running
        staff = running.read()["staff"]
        assert running.end() == 0
        assert running.left() == []
        assert not running.file.exists()
        kept = json.loads((folder / "accounts.json").read_text())
        assert staff["password"] == kept["staff"]["password"]
