"""A pytest plugin: a PostgreSQL and a Kafka of the run's own, real ones, in a folder that is gone at the end.

Where several processes share the tests, each has its own servers.

A plugin and not a conftest, because pytest-django reads the settings, and so the servers' addresses, before
it loads any conftest.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parent.parent

_stack: Stack | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start the servers. Jars are shared between runs: their checksums are verified each time."""
    global _stack
    shared = getattr(early_config.known_args_namespace, "numprocesses", None)
    if shared and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # this process only hands out tests
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    stack = Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={})
    early_config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    early_config.add_cleanup(stack.stop)
    _stack = stack.start()
    os.environ.update(stack.environment())


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The running servers."""
    assert _stack is not None
    return _stack
