"""Relay processes and a process that publishes, on servers of their own; what must have reached Kafka."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from devstack.stack import Stack
from outbox.kafka import GroupReader, Record
from tests.engine import until
from tests.pooler import Pooler
from tests.prepared import prepare
from tests.servers import PROJECT

SHARDS = 8


class Relays:
    """Relay processes by name, a process that publishes, and others that belong to them."""

    def __init__(self, stack: Stack, *, database_url: str) -> None:
        self.stack = stack
        # What is asked here is asked without a pooler.
        self.database_url = stack.database_url
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            **stack.environment(),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.quick_lease",
        }
        self._log = (stack.folder / "relays.log").open("ab")

    def lead_to(self, database_url: str) -> None:
        """What is started from now on uses another database."""
        self._environment["DATABASE_URL"] = self.database_url = database_url

    def prepare(self) -> None:
        """Tables and topics."""
        prepare(self._environment)

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, cwd=PROJECT, env=self._environment, check=True)

    def said(self, *arguments: str, **environment: str) -> str:
        """What a command that fails says."""
        command = [sys.executable, "manage.py", *arguments]
        settings = {**self._environment, **environment}
        done = subprocess.run(command, cwd=PROJECT, env=settings, capture_output=True, text=True)
        assert done.returncode == 1, done
        return done.stderr

    def start(self, name: str, *command: str, **environment: str) -> None:
        """Start a relay, or the process of another command; with these variables besides."""
        relay = ("manage.py", "run_relay")
        self._start(name, command or relay, stdin=subprocess.DEVNULL, **environment)

    def start_load(self, module: str = "tests.acceptance.publishing") -> None:
        self._start("load", ("-m", module), stdin=subprocess.PIPE)

    def _start(self, name: str, command: tuple[str, ...], *, stdin: int, **environment: str) -> None:
        self.processes[name] = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env={**self._environment, **environment},
            stdin=stdin,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def send(self, name: str, number: signal.Signals) -> None:
        assert self.processes[name].poll() is None, self.log()
        self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        self.send(name, signal.SIGKILL)
        self.processes.pop(name).wait()

    def end(self, name: str) -> int:
        """End one in order; return its exit code."""
        self.send(name, signal.SIGTERM)
        return self.processes.pop(name).wait(30)

    def end_load(self) -> None:
        self.processes.pop("load").communicate(timeout=60)

    def end_all(self) -> None:
        for process in self.processes.values():
            process.kill()  # also one that is stopped
            process.communicate()
        self._log.close()

    def log(self) -> str:
        return (self.stack.folder / "relays.log").read_text(errors="replace")[-4_000:]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()

    def shards(self) -> dict[int, int]:
        """How many shards each process holds at this moment, by its pid."""
        rows = self.query(
            "SELECT split_part(owner, ':', 2)::int, count(*) FROM outbox_shard"
            " WHERE expires_at > clock_timestamp() GROUP BY 1"
        )
        return dict(rows)

    def shared_by(self, *names: str) -> bool:
        """Whether these, and no others, hold all shards, each its fair share."""
        shards = self.shards()
        pids = {self.processes[name].pid for name in names}
        return (
            set(shards) == pids
            and sum(shards.values()) == SHARDS
            and max(shards.values()) - min(shards.values()) <= 1
        )

    def sessions(self) -> int:
        """How many others PostgreSQL serves."""
        others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return int(self.query(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")[0][0])

    def traced(self) -> int:
        return int(self.query("SELECT count(DISTINCT event_id) FROM outbox_publication")[0][0])

    def go_on(self) -> None:
        """Return when more has been published in every shard."""
        before = self._seen()
        until(lambda: all(self._seen().get(shard, 0) > before.get(shard, 0) for shard in range(SHARDS)))

    def _seen(self) -> dict[int, int]:
        return dict(
            self.query(
                "SELECT shard, max(event.position) FROM outbox_event AS event"
                " JOIN outbox_publication ON event_id = id GROUP BY 1"
            )
        )


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_relays(*, pooled: bool = False, within: Path | None = None) -> Iterator[Relays]:
    """On servers of their own. Those who are `pooled` reach PostgreSQL through a pooler alone."""
    with ExitStack() as running:
        folder = within or running.enter_context(temporary_folder())
        stack = running.enter_context(Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={}))
        url = stack.database_url
        if pooled:
            url = running.enter_context(Pooler(folder, database_url=url)).url
        relays = Relays(stack, database_url=url)
        running.callback(relays.end_all)
        relays.prepare()
        yield relays


def text(record: Record, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def all_records(relays: Relays, *, others: int) -> list[Record]:
    """The topic from its beginning, each partition in order; so many records of it have no trace."""
    reader = GroupReader(
        {"bootstrap.servers": relays.stack.kafka_bootstrap},
        group="check",
        topics=["loyalty"],
        on_lost=lambda _: None,
    )
    sent = int(relays.query("SELECT count(*) FROM outbox_publication")[0][0]) + others
    try:
        records: list[Record] = []

        def read() -> bool:
            records.extend(reader.poll(limit=5_000, timeout=0.2))
            return len(records) >= sent

        until(read, seconds=60)
        return records
    finally:
        reader.close()


def check(relays: Relays, *, lost: Collection[str] = ()) -> int:
    """How many came more than once.

    Every event is there, also those that the database lost, and the first occurrences of each key's are in
    order, with no number missing or given twice.
    """
    published = relays.query("SELECT id::text, key, number FROM outbox_event")
    until(lambda: relays.traced() == len(published), seconds=60)
    records = all_records(relays, others=len(lost))
    seen: set[str] = set()
    numbers: dict[bytes | None, list[int]] = defaultdict(list)
    for record in records:
        if (event_id := text(record, "ce_id")) not in seen:
            seen.add(event_id)
            numbers[record.key].append(int(text(record, "ce_sequence")))
    assert seen == {event_id for event_id, _, _ in published} | set(lost)
    for key, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), key
    return len(records) - len(seen)
