"""Servers of their own for benchmarks."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parent.parent


@contextmanager
def own_servers() -> Iterator[Stack]:
    """A PostgreSQL and a Kafka, to which this process' Django leads; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    stack = Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={})
    try:
        os.environ.update(stack.start().environment())
        os.environ["DJANGO_SETTINGS_MODULE"] = "eventsite.settings"
        import django

        django.setup()
        yield stack
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
