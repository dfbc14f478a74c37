"""How fast a backlog reaches Kafka, as ratios against a ceiling that was measured beside it.

    .venv/bin/python -m benchmarks.relay --events 100000 --rounds 3

The ceiling selects the same rows, sends the same records and flushes after each page of 5,000, and records
nothing. Relays are processes (`manage.py run_relay`) that find the whole backlog when the transaction that
wrote it commits. Every scenario takes its turn in each round. PostgreSQL and Kafka are real, with their
durability at its defaults, on the same machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import psutil
import psycopg

from benchmarks.servers import PROJECT, own_servers
from devstack.stack import Stack

PAYLOAD_BYTES = 510
PAGE = 5_000
DEADLINE = 600.0


class Bench:
    """A stack with the project's tables and topics, a backlog at a time."""

    def __init__(self, stack: Stack, *, events: int) -> None:
        self.stack = stack
        self.events = events
        self.connection = psycopg.connect(stack.database_url, autocommit=True)

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
        payload = b'{"filler":"' + b"x" * (PAYLOAD_BYTES - 13) + b'"}'
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
                        payload=payload,
                        owner=None,
                    )
                )
            write(rows, using="default")
        return int(first)

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows, on a connection of its own."""
        return self.connection.execute(sql, parameters).fetchall()

    @contextmanager
    def relays(self, count: int) -> Iterator[list[psutil.Process]]:
        """So many relay processes, that have shared the shards."""
        environment = {**os.environ, **self.stack.environment()}
        with ExitStack() as all_of_them, (self.stack.folder / "relays.log").open("ab") as log:
            processes = []
            for _ in range(count):
                process = subprocess.Popen(
                    [sys.executable, "manage.py", "run_relay"], cwd=PROJECT, env=environment, stderr=log
                )
                all_of_them.callback(process.wait)
                all_of_them.callback(process.terminate)
                processes.append(psutil.Process(process.pid))
            self._until("SELECT count(DISTINCT owner) = %s AND count(owner) = 8 FROM outbox_shard", [count])
            yield processes

    def _until(self, question: str, parameters: Any = None) -> None:
        end = time.monotonic() + DEADLINE
        while not self.query(question, parameters)[0][0]:
            if time.monotonic() > end:
                raise TimeoutError(question)
            time.sleep(0.01)

    def relay(self, *, relays: int = 1, held: bool = False) -> tuple[float, float]:
        """Seconds from the commit of a backlog until all of it is sent and recorded; megabytes of memory."""
        from django.db import transaction

        with ExitStack() as around:
            processes = around.enter_context(self.relays(relays))
            if held:
                other = around.enter_context(psycopg.connect(self.stack.database_url))
                other.execute("SELECT pg_current_xact_id()")
            with transaction.atomic():
                self.fill(count=self.events, keys=1_000, hot=held)
                [(xid,)] = self._own("SELECT pg_current_xact_id()::text")
            began = time.perf_counter()
            peak = 0
            question = "SELECT bool_and(pg_visible_in_snapshot(%s::xid8, previous)) FROM outbox_shard"
            while not self.query(question, [xid])[0][0]:
                peak = max(peak, sum(one.memory_info().rss for one in processes))
                if time.perf_counter() - began > DEADLINE:
                    raise TimeoutError("the backlog was not drained")
                time.sleep(0.1)
            return time.perf_counter() - began, peak / 1e6

    def _own(self, sql: str) -> list[tuple[Any, ...]]:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(sql)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def ceiling(self) -> float:
        """Seconds in which the last backlog is selected, sent and flushed again, and nothing is recorded."""
        from confluent_kafka import Producer

        from outbox.config import config
        from outbox.envelope import binary_headers
        from outbox.keys import partition_of

        [(position,)] = self.query("SELECT max(position) - %s FROM outbox_event", [self.events])
        producer = Producer(
            {
                **config().kafka,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 0,
            }
        )
        producer.list_topics(timeout=5)
        acknowledged = 0

        def delivered(error: Any, message: Any) -> None:
            nonlocal acknowledged
            acknowledged += error is None and message.offset() >= 0

        began = time.perf_counter()
        while rows := self.query(
            "SELECT position, id::text, source, type, occurred_at, key, number, correlation_id::text, payload"
            " FROM outbox_event WHERE position > %s ORDER BY position LIMIT %s",
            [position, PAGE],
        ):
            for position, event_id, source, kind, at, key, number, correlation, payload in rows:  # noqa: B007
                raw = key.encode()
                headers: Any = binary_headers(
                    event_id.encode(), source.encode(), kind.encode(), at.isoformat().encode(), raw, number,
                    correlation.encode(), None, None, b"application/json",
                )  # fmt: skip
                producer.produce(
                    "payments", payload, key=raw, partition=partition_of(key, 4), headers=headers,
                    on_delivery=delivered,
                )  # fmt: skip
            producer.flush()
        if acknowledged != self.events:
            raise RuntimeError(f"Kafka took {acknowledged} of {self.events} records")
        return time.perf_counter() - began

    def fill_old(self, count: int) -> None:
        """So many rows that were published long ago: the cursor is behind them."""
        from django.db import transaction

        for _ in range(count // 100_000):
            with transaction.atomic():
                self.fill(count=100_000, keys=1_000)
        self._own_execute(
            "UPDATE outbox_shard SET previous = pg_current_snapshot(), current = NULL, position = 0"
        )
        self.connection.execute("VACUUM ANALYZE outbox_event")

    def _own_execute(self, sql: str) -> None:
        self.connection.execute(sql)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="of a backlog")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", type=int, default=0, help="rows published before, in hundreds of thousands")
    options = parser.parse_args()
    with own_servers() as stack:
        bench = Bench(stack, events=options.events)
        bench.prepare()
        if options.old:
            bench.fill_old(options.old)
        taken: dict[str, list[float]] = defaultdict(list)
        memory: dict[str, float] = defaultdict(float)
        for number in range(options.rounds):
            for name, how in (
                ("one relay", {}),
                ("one relay, a transaction held, a hot key", {"held": True}),
                ("two relays", {"relays": 2}),
            ):
                seconds, peak = bench.relay(**how)
                taken[name].append(seconds)
                memory[name] = max(memory[name], peak)
                taken["ceiling"].append(bench.ceiling())
            print(f"round {number + 1}: { ({name: round(found[-1], 2) for name, found in taken.items()}) }")  # noqa: T201
        report(taken, memory, events=options.events)
        [(dead,)] = bench.query(
            "SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables"
            " WHERE relname LIKE 'outbox_event_p%'"
        )
        print(f"dead tuples in the event table: {dead}")  # noqa: T201


def report(taken: dict[str, list[float]], memory: dict[str, float], *, events: int) -> None:
    """Medians, and their ratios to the ceiling."""
    ceiling = statistics.median(taken["ceiling"])
    print(f"\n{'':44}{'events/s':>10}{'of ceiling':>12}{'memory MB':>11}")  # noqa: T201
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        shown = f"{memory[name]:.0f}" if name in memory else ""
        print(f"{name:44}{events / median:10,.0f}{ceiling / median:12.2f}{shown:>11}")  # noqa: T201


if __name__ == "__main__":
    main()
