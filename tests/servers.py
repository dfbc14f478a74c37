"""A pytest plugin: the run's own PostgreSQL and Kafka, real ones, in a folder that is gone at the end.

A plugin and not a conftest, because pytest-django reads the settings, and so the servers' addresses, before
it loads any conftest.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parent.parent

_stack: Stack | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start the servers. Jars are shared between runs: their checksums are verified each time."""
    global _stack
    # A short path: PostgreSQL's socket must fit into 107 bytes.
    _stack = Stack(Path(tempfile.mkdtemp(prefix="es-")), jars=PROJECT / ".devstack" / "jars", environ={})
    _stack.start()
    os.environ.update(_stack.environment())


def pytest_unconfigure() -> None:
    """End the servers and delete their folder."""
    if _stack is not None:
        _stack.stop()
        shutil.rmtree(_stack.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The running servers."""
    assert _stack is not None
    yield _stack
