"""The whole site on a stack of its own, whose parts stay stopped when they are stopped.

The demo restarts what dies; here that would hide what is to be measured.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from demo.accounts import Accounts
from demo.parts import Part, parts, preparation
from devstack.ports import HOST, find_port
from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parent.parent
GRACE = 30.0


class Site:
    """The demo's processes by name (web, relay-1, orders-1, …), and kafka: to be stopped and started."""

    def __init__(self, stack: Stack, *, consumers: Iterable[str]) -> None:
        self.stack = stack
        self.port = find_port(preferred=8000)
        self.url = f"http://{HOST}:{self.port}"
        self.log = stack.folder / "site.log"
        self._parts = {
            part.name: part for part in parts(stack.folder, port=self.port, consumers=list(consumers))
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, **stack.environment(), "PYTHONUNBUFFERED": "1"}

    def prepare(self) -> Accounts:
        """Tables, topics and users."""
        self._run(preparation(self.stack.folder)).wait()
        return Accounts.read(self.stack.folder)

    def start(self, *names: str) -> None:
        """Start these parts, or all. Kafka answers when this returns; the others are starting."""
        for name in names or self._parts:
            if name == "kafka":
                self.stack.kafka.start()
            else:
                self._processes[name] = self._run(self._parts[name])

    def stop(self, *names: str) -> None:
        """End these parts in order, and see that they end."""
        for name in names:
            if name == "kafka":
                self.stack.kafka.stop()
            else:
                self._processes[name].send_signal(signal.SIGTERM)
        for name in names:
            if name != "kafka":
                self._processes.pop(name).wait(GRACE)

    @property
    def pids(self) -> dict[str, int]:
        """Of the parts that run."""
        return {name: process.pid for name, process in self._processes.items()}

    def end(self) -> None:
        """Kill what still runs."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the site's database."""
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()

    def _run(self, part: Part) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  (the project's own commands)
                list(part.command),
                cwd=PROJECT,
                env={**self._environment, **part.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextmanager
def running_site(*, consumers: Iterable[str]) -> Iterator[tuple[Site, Accounts]]:
    """A prepared site whose servers answer, in a folder that is gone afterwards; no part is started yet."""
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    try:
        with Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={}) as stack:
            site = Site(stack, consumers=consumers)
            try:
                yield site, site.prepare()
            except BaseException:
                sys.stderr.write(site.log.read_text(errors="replace")[-4_000:] if site.log.exists() else "")
                raise
            finally:
                site.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
