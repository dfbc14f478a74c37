"""Several relay processes share the work; whatever happens to one, nothing is skipped or out of order."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from devstack.stack import Stack
from outbox.kafka import GroupReader, Record
from tests.engine import until
from tests.servers import PROJECT

SHARDS = 8


class Relays:
    """Relay processes by name, and a process that publishes."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            **os.environ,
            **stack.environment(),
            "DJANGO_SETTINGS_MODULE": "tests.acceptance.quick_lease",
        }
        self._log = (stack.folder / "relays.log").open("ab")

    def manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        subprocess.run(command, cwd=PROJECT, env=self._environment, check=True)

    def start(self, name: str) -> None:
        arguments = ["-m", "tests.acceptance.publishing"] if name == "load" else ["manage.py", "run_relay"]
        self.processes[name] = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env=self._environment,
            stdin=subprocess.PIPE if name == "load" else subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def send(self, name: str, number: signal.Signals) -> None:
        assert self.processes[name].poll() is None, self.log()
        self.processes[name].send_signal(number)

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
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
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


@pytest.fixture
def relays() -> Iterator[Relays]:
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    try:
        with Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={}) as stack:
            relays = Relays(stack)
            try:
                relays.manage("migrate", "--verbosity", "0")
                relays.manage("topics", "apply")
                yield relays
            finally:
                relays.end_all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def text(record: Record, name: str) -> str:
    return (dict(record.headers)[name] or b"").decode()


def all_records(relays: Relays) -> list[Record]:
    """The topic from its beginning; of each partition in order."""
    reader = GroupReader(
        {"bootstrap.servers": relays.stack.kafka_bootstrap},
        group="check",
        topics=["loyalty"],
        on_lost=lambda _: None,
    )
    sent = int(relays.query("SELECT count(*) FROM outbox_publication")[0][0])
    try:
        records: list[Record] = []

        def read() -> bool:
            records.extend(reader.poll(limit=5_000, timeout=0.2))
            return len(records) >= sent

        until(read, seconds=60)
        return records
    finally:
        reader.close()


def check(relays: Relays) -> int:
    """Every event is there, the first occurrences of each key's in order; how many came more than once."""
    published = relays.query("SELECT id::text, key, number FROM outbox_event")
    until(lambda: relays.traced() == len(published), seconds=60)
    records = all_records(relays)
    seen: set[str] = set()
    numbers: dict[bytes | None, list[int]] = defaultdict(list)
    for record in records:
        if (event_id := text(record, "ce_id")) not in seen:
            seen.add(event_id)
            numbers[record.key].append(int(text(record, "ce_sequence")))
    assert seen == {event_id for event_id, _, _ in published}
    for key, found in numbers.items():
        assert found == list(range(1, len(found) + 1)), key
    return len(records) - len(seen)


def test_relays_share_are_frozen_killed_and_ended_and_no_key_is_out_of_order(relays: Relays) -> None:
    for name in ("first", "second", "load"):
        relays.start(name)
    until(lambda: relays.shared_by("first", "second"))
    relays.start("third")
    until(lambda: relays.shared_by("first", "second", "third"))
    relays.go_on()

    for name, others in (("first", ("second", "third")), ("second", ("first", "third"))) * 2:
        # Frozen in the midst of its work, for longer than its leases last.
        relays.send(name, signal.SIGSTOP)
        until(partial(relays.shared_by, *others))
        relays.go_on()
        relays.send(name, signal.SIGCONT)
        until(lambda: relays.shared_by("first", "second", "third"))
        relays.go_on()

    relays.send("third", signal.SIGKILL)
    until(lambda: relays.shared_by("first", "second"))
    relays.go_on()
    relays.send("second", signal.SIGTERM)
    assert relays.processes.pop("second").wait(30) == 0, relays.log()
    until(lambda: relays.shared_by("first"))
    relays.go_on()
    relays.end_load()
    check(relays)
