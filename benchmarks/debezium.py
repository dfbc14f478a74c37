"""How fast a backlog reaches Kafka by our relay, and by Debezium's outbox event router from the same table.

    .venv/bin/python -m benchmarks.debezium --events 100000 --rounds 3

Contenders take turns in each round, alone, on the same PostgreSQL and Kafka, whose durability is at its
defaults. Each is given a backlog that was committed before its process starts (cold), then, once it has
relayed all of it, another one (warm), then single events. A backlog counts as relayed when the topic's end
offsets say so; afterwards every record is read and compared with the table's row.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import psutil

from benchmarks.arrivals import Arrivals, verify
from benchmarks.bench import DEADLINE, PROJECT, Bench, running
from benchmarks.connect import PREFIX, TUNING, Debezium
from benchmarks.lock import LOCK_FILE
from devstack.jars import JarCache
from devstack.progress import Progress

TOPIC = "payments"
POLL = 0.02
# Between single events; random, so that no one's polling keeps step with it.
PAUSES = (0.1, 0.6)


class Contender(Protocol):
    """Who relays the table: `topic` is where to, `id_header` bears the event's id."""

    name: str
    topic: str
    id_header: str

    def waiting(self) -> AbstractContextManager[None]:
        """Until it ends, what is committed will be relayed, by a process that may start later."""

    def running(self) -> AbstractContextManager[psutil.Process]:
        """The process; it may relay nothing yet."""


@dataclass
class Measured:
    """One contender over all rounds: seconds of each backlog and of each single event, bytes of memory."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    memory: int = 0


class OurRelay:
    """`manage.py run_relay`, one process."""

    name = "our relay"
    topic = TOPIC
    id_header = "ce_id"

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @contextmanager
    def waiting(self) -> Iterator[None]:
        # Behind what the others relayed.
        self._bench.query(
            "UPDATE outbox_shard SET previous = pg_current_snapshot(), current = NULL, position = 0"
            " RETURNING shard"
        )
        yield

    @contextmanager
    def running(self) -> Iterator[psutil.Process]:
        with self._bench.relays(1) as (process,):
            yield process


class DebeziumRelay:
    """Kafka Connect with one connector."""

    topic = PREFIX + TOPIC
    id_header = "id"

    def __init__(self, name: str, connector: Debezium) -> None:
        self.name = name
        self.waiting = connector.slot
        self.running = connector.running


def visit(bench: Bench, contender: Contender, measured: Measured, *, singles: int) -> None:
    """Measure one contender once."""
    [(position,)] = bench.query("SELECT coalesce(max(position), 0) FROM outbox_event")
    arrivals = Arrivals(bench.stack.kafka_bootstrap, contender.topic)
    arrivals.mark()
    with contender.waiting():
        commit(bench, count=bench.events)
        began = time.perf_counter()
        with contender.running() as process:
            memory = until(arrivals, bench.events, process)
            measured.cold.append(time.perf_counter() - began)
            began = commit(bench, count=bench.events)
            memory = max(memory, until(arrivals, 2 * bench.events, process))
            measured.warm.append(time.perf_counter() - began)
            for _ in range(singles):
                time.sleep(random.uniform(*PAUSES))  # noqa: S311 - nothing secret about it
                measured.delays.append(arrivals.next_after(lambda: commit(bench, count=1)))
    measured.memory = max(measured.memory, memory)
    verify(arrivals, bench.connection, after=position, id_header=contender.id_header)


def commit(bench: Bench, *, count: int) -> float:
    """Write so many events, and wake relays as publish() does; return the moment of the commit."""
    from django.db import transaction

    from outbox import wake

    with transaction.atomic():
        bench.fill(count=count, keys=min(count, 1_000))
    committed = time.perf_counter()
    wake.wake(using="default")
    return committed


def until(arrivals: Arrivals, count: int, process: psutil.Process) -> int:
    """Wait until so many records have arrived; return the most bytes the process had meanwhile."""
    end, most = time.monotonic() + DEADLINE, 0
    while arrivals.count() < count:
        if time.monotonic() > end:
            raise TimeoutError(f"{arrivals.count()} of {count} records arrived in {arrivals.topic}")
        memory = process.memory_info().rss
        if not memory:
            # It has ended, and is a zombie until it is waited for.
            raise psutil.ZombieProcess(process.pid)
        most = max(most, memory)
        time.sleep(POLL)
    return most


def add_topic() -> None:
    """Debezium's own, made as ours."""
    from outbox.config import config
    from outbox.kafka import Cluster

    [topic] = [one for one in config().declared_topics() if one.name == TOPIC]
    Cluster(config().kafka).create_topic(
        PREFIX + TOPIC, partitions=topic.partitions, replication=topic.replication, config=topic.config()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="of a backlog")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--singles", type=int, default=20, help="single events of a round")
    options = parser.parse_args()
    jars = JarCache(PROJECT / ".devstack" / "debezium-jars", lock=LOCK_FILE, of="Debezium")
    jars.ensure(Progress())
    with running(events=options.events) as bench:
        add_topic()
        contenders: list[Contender] = [
            OurRelay(bench),
            DebeziumRelay("Debezium, defaults", Debezium(bench.stack, jars=jars, tuning={})),
            DebeziumRelay("Debezium, tuned", Debezium(bench.stack, jars=jars, tuning=TUNING)),
        ]
        measured = {contender.name: Measured() for contender in contenders}
        for number in range(options.rounds):
            # Another one begins in each round.
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                found = measured[contender.name]
                visit(bench, contender, found, singles=options.singles)
                print(  # noqa: T201
                    f"round {number + 1}: {contender.name}, cold {found.cold[-1]:.2f} s,"
                    f" warm {found.warm[-1]:.2f} s"
                )
        report(measured, events=options.events)


def report(measured: dict[str, Measured], *, events: int) -> None:
    """Medians, and the ratios of ours to the others'."""
    ours = measured[OurRelay.name]
    print(f"\n{'':20}{'cold, events/s':>16}{'ours is':>9}{'warm, events/s':>16}{'ours is':>9}", end="")  # noqa: T201
    print(f"{'one event, ms':>15}{'memory, MB':>12}")  # noqa: T201
    for name, one in measured.items():
        line = f"{name:20}"
        for own, its in ((ours.cold, one.cold), (ours.warm, one.warm)):
            ratio = statistics.median(its) / statistics.median(own)
            line += f"{events / statistics.median(its):16,.0f}{ratio:9.2f}"
        delay = f"{statistics.median(one.delays) * 1_000:.0f}" if one.delays else ""
        print(f"{line}{delay:>15}{one.memory / 1e6:12.0f}")  # noqa: T201


if __name__ == "__main__":
    main()
