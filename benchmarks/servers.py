"""Servers of their own for benchmarks, with the project's tables and topics."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.relay import PROJECT, Bench
from devstack.stack import Stack


@contextmanager
def bench_on_own_servers(*, events: int) -> Iterator[Bench]:
    """A PostgreSQL and a Kafka, to which this process' Django leads; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    stack = Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={})
    try:
        os.environ.update(stack.start().environment())
        os.environ["DJANGO_SETTINGS_MODULE"] = "eventsite.settings"
        import django

        django.setup()
        bench = Bench(stack, events=events)
        bench.prepare()
        yield bench
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
