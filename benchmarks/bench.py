"""What the benchmarks share: a stack of their own, events to be relayed, and relays as processes."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg

from devstack.stack import Stack

PROJECT = Path(__file__).resolve().parent.parent
PAYLOAD_BYTES = 510
PAYLOAD = b'{"filler":"' + b"x" * (PAYLOAD_BYTES - 13) + b'"}'
PAGE = 5_000
DEADLINE = 600.0


@contextmanager
def running(*, events: int = 0) -> Iterator["Bench"]:
    """A new PostgreSQL and Kafka with the project's tables and topics, gone afterwards; Django is set up.

    Relays, and whatever else is started meanwhile, find them by the environment.
    """
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


class Bench:
    """A stack with the project's tables and topics, a backlog at a time.

    events  of a backlog
    using   Django's name of the database, `url` its address: the stack's own when left out
    """

    def __init__(self, stack: Stack, *, events: int, using: str = "default", url: str | None = None) -> None:
        self.stack = stack
        self.events = events
        self.using = using
        self.url = url or stack.database_url
        self.connection = psycopg.connect(self.url, autocommit=True)

    def prepare(self) -> None:
        """Tables and topics."""
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        call_command("topics", "apply")

    def fill(self, *, count: int, keys: int, hot: bool = False) -> int:
        """Write so many events, in the transaction under way; return the first position.

        keys  by how many keys; `hot`: half of all events are of one
        """
        from outbox import clock
        from outbox.ids import new_id
        from outbox.keys import hash_of, shard_of
        from outbox.publishing import OutboxRow, write

        now = clock.now()
        names = [str(uuid4()) for _ in range(keys)]
        [(first,)] = self.query("SELECT last_value FROM outbox_event_position")
        for begin in range(0, count, PAGE):
            rows = []
            for number in range(begin, min(begin + PAGE, count)):
                key = names[0] if hot and number % 2 else names[number % keys]
                event_id = new_id(now)
                rows.append(
                    OutboxRow(
                        id=event_id,
                        shard=shard_of(key),
                        topic="payments",
                        key=key,
                        hash=hash_of(key),
                        partition=None,
                        type="bench.Written.v1",
                        source="/bench",
                        occurred_at=now,
                        correlation_id=event_id,
                        causation_id=None,
                        traceparent=None,
                        content_type="application/json",
                        payload=PAYLOAD,
                        owner=None,
                    )
                )
            write(rows, using=self.using)
        return int(first)

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows, on a connection of its own."""
        return self.connection.execute(sql, parameters).fetchall()

    @contextmanager
    def relays(self, count: int) -> Iterator[list[psutil.Process]]:
        """So many relay processes, that have shared the shards."""
        environment = {**os.environ, "DATABASE_URL": self.url}
        with ExitStack() as all_of_them, (self.stack.folder / "relays.log").open("ab") as log:
            processes = []
            for _ in range(count):
                process = subprocess.Popen(
                    [sys.executable, "manage.py", "run_relay"], cwd=PROJECT, env=environment, stderr=log
                )
                all_of_them.callback(process.wait)
                all_of_them.callback(process.terminate)
                processes.append(psutil.Process(process.pid))
            self.until("SELECT count(DISTINCT owner) = %s AND count(owner) = 8 FROM outbox_shard", [count])
            yield processes

    def until(self, question: str, parameters: Any = None) -> None:
        """Return when the database says so. Raises TimeoutError."""
        end = time.monotonic() + DEADLINE
        while not self.query(question, parameters)[0][0]:
            if time.monotonic() > end:
                raise TimeoutError(question)
            time.sleep(0.01)
