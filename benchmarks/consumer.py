"""How fast consumers get through a backlog, as ratios against a ceiling that was measured beside them.

    .venv/bin/python -m benchmarks.consumer --events 40000 --rounds 3
    .venv/bin/python -m benchmarks.consumer --old 10000000
    .venv/bin/python -m benchmarks.consumer --rounds 0 --backlog 1000000

The ceiling reads the same records in batches of 500, decodes them, and in one transaction claims their ids,
keeps each key's last number and writes the same effects, without an engine. Each scenario reads the whole
topic as a group of its own; its time runs from the first to the last row of its inbox. Every scenario takes
its turn in each round. PostgreSQL and Kafka are real, with their durability at its defaults, on the same
machine; processes are `Instances` of benchmarks/consuming.py.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psutil

from benchmarks.bench import DEADLINE, PAYLOAD, PROJECT, Bench, running
from benchmarks.consuming import TABLE

KEYS = 1_000
PARTITIONS = 4
PARKED = 10
# An event that comes twice comes again after so many others: its first time has been committed by then.
BLOCK = 5_000
POLL = 0.1


@dataclass(frozen=True)
class Scenario:
    """How one run is made.

    kind   as benchmarks/consuming.py knows it
    topic  which of the backlogs is read
    """

    kind: str
    topic: str
    instances: int = 1
    parked: int = 0


class Backlogs:
    """Topics full of events, which any number of groups read."""

    def __init__(self, bench: Bench) -> None:
        from outbox.config import config
        from outbox.kafka import Cluster

        self._bench = bench
        self._kafka = config().kafka
        self.cluster = Cluster(self._kafka)
        self.events: dict[str, int] = {}
        self.sizes: dict[str, int] = {}  # in records
        self.transactions = 0  # of the last run
        self.keys = _keys()

    def make(self, topic: str, *, events: int, twice: bool = False) -> None:
        """Send so many records; `twice`: each event two times, the second one some transactions later."""
        from confluent_kafka import Producer

        from outbox import clock
        from outbox.envelope import cloudevent_headers
        from outbox.ids import new_id
        from outbox.keys import partition_of

        self.cluster.create_topic(topic, partitions=PARTITIONS, replication=1, config={})
        producer = Producer({**self._kafka, "enable.idempotence": True, "linger.ms": 20})
        now = clock.now()
        different = events // 2 if twice else events

        def produce(number: int, event_id: UUID) -> None:
            key = self.keys[number % KEYS]
            headers: Any = cloudevent_headers(
                id=event_id, source="/bench", type="bench.Written.v1", occurred_at=now, key=key,
                number=number // KEYS + 1, correlation_id=event_id, causation_id=None, traceparent=None,
                content_type="application/json",
            )  # fmt: skip
            producer.produce(
                topic, PAYLOAD, key=key, partition=partition_of(key, PARTITIONS), headers=headers
            )
            producer.poll(0)

        for first in range(0, different, BLOCK):
            block = {number: new_id(now) for number in range(first, min(first + BLOCK, different))}
            for _ in range(2 if twice else 1):
                for number, event_id in block.items():
                    produce(number, event_id)
                producer.flush()
        self.events[topic] = different
        self.sizes[topic] = different * (2 if twice else 1)

    def run(self, scenario: Scenario) -> float:
        """Events a second."""
        name = f"bench-{uuid4().hex[:8]}"
        if scenario.parked:
            self._bench.connection.execute(
                "INSERT INTO outbox_parked_key (consumer, generation, topic, key, cause, event_id)"
                " SELECT %s, 1, %s, key, 'dead_letter', gen_random_uuid() FROM unnest(%s::text[]) AS key",
                [name, scenario.topic, self.keys[: scenario.parked]],
            )
        [(began,)] = self._bench.query("SELECT clock_timestamp()")
        with self.consuming(scenario, name) as process:
            shared_at = self._until_shared(name, scenario.instances)
            self._until_read(name, scenario.topic, began, process)
        [(events,)] = self._bench.query("SELECT count(*) FROM outbox_inbox WHERE consumer = %s", [name])
        if events != self.events[scenario.topic]:
            raise RuntimeError(f"{events} of {self.events[scenario.topic]} events were processed")
        [(seconds, events)] = self._bench.query(_WHILE_ALL_WORKED, [name, shared_at, scenario.instances])
        [(self.transactions,)] = self._bench.query(
            "SELECT count(DISTINCT xmin::text) FROM outbox_inbox WHERE consumer = %s", [name]
        )
        if not seconds:
            raise RuntimeError("all was read before the instances shared it: give it more --events")
        return float(events / seconds) * self.sizes[scenario.topic] / self.events[scenario.topic]

    @contextmanager
    def consuming(self, scenario: Scenario, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A group of this name, until the block ends."""
        command = [sys.executable, "-m", "benchmarks.consuming", scenario.kind, name, scenario.topic]
        environment = {**os.environ, "DATABASE_PREPARED": "true"}
        with (self._bench.stack.folder / "consumers.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (this project's own)
                [*command, str(scenario.instances)], cwd=PROJECT, env=environment, stderr=log
            )
            try:
                yield process
            finally:
                process.terminate()
                process.wait()

    def reached(self, name: str) -> int:
        """Up to where the group has come, as its instances said last; all partitions together."""
        question = "SELECT coalesce(sum(reached), 0) FROM outbox_consumer_position WHERE consumer = %s"
        return int(self._bench.query(question, [name])[0][0])

    def _until_shared(self, group: str, instances: int) -> Any:
        """When every instance had its partitions, by the database's clock; for one alone, the beginning."""
        end = time.monotonic() + DEADLINE
        while instances > 1 and sum(map(bool, self.cluster.members(group).values())) < instances:
            if time.monotonic() > end:
                raise TimeoutError(f"{group} was not shared")
            time.sleep(POLL)
        [(moment,)] = self._bench.query(
            "SELECT clock_timestamp() - interval '1 hour' * %s", [int(instances == 1)]
        )
        return moment

    def _until_read(self, name: str, topic: str, began: Any, process: subprocess.Popen[bytes]) -> None:
        """By the inbox: an offset whose commit met a rebalance is committed with the next record only."""
        end = time.monotonic() + DEADLINE
        question = "SELECT count(*) FROM outbox_inbox WHERE processed_at > %s AND consumer = %s"
        while self._bench.query(question, [began, name])[0][0] < self.events[topic]:
            if time.monotonic() > end or process.poll() is not None:
                raise TimeoutError(f"{topic} was not read")
            time.sleep(POLL)


def _keys() -> list[str]:
    """As many for each partition, so that instances have as much to do."""
    from outbox.keys import partition_of

    keys: dict[int, list[str]] = {partition: [] for partition in range(PARTITIONS)}
    while any(len(some) < KEYS // PARTITIONS for some in keys.values()):
        key = str(uuid4())
        some = keys[partition_of(key, PARTITIONS)]
        if len(some) < KEYS // PARTITIONS:
            some.append(key)
    return [key for row in zip(*keys.values(), strict=True) for key in row]


# Of one instance all of it. Of several what they did while none had come to the end of its partitions: those
# that begin sooner have read more of some by the time that all have begun.
_WHILE_ALL_WORKED = """
WITH done AS (
    SELECT partition, processed_at FROM outbox_inbox WHERE consumer = %s AND processed_at > %s
), until AS (
    SELECT CASE WHEN %s = 1 THEN max(last) ELSE min(last) END AS moment
    FROM (SELECT max(processed_at) AS last FROM done GROUP BY partition) AS ends
)
SELECT extract(epoch FROM max(processed_at) - min(processed_at))::float8, count(*)
FROM done, until WHERE processed_at <= until.moment
"""
_OLD = """
INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", key, number, type,
    outcome, occurred_at, processed_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
        || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid,
    'old', 1, 'old', 0, n, 'k' || n %% 1000, n, 'bench.Written.v1', 'processed', at, at
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
    LATERAL (SELECT now() - interval '6 hours' * n / %(count)s AS at) AS moment
"""
_CHUNK = 100_000


def add_old(bench: Bench, count: int) -> None:
    """So many rows of another consumer, among which every look into the inbox is made."""
    for first in range(0, count, _CHUNK):
        last = min(first + _CHUNK, count) - 1
        bench.connection.execute(_OLD, {"first": first, "last": last, "count": count})
    bench.connection.execute("VACUUM ANALYZE outbox_inbox")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=40_000, help="of a backlog, a multiple of 2,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--old", type=int, default=0, help="old inbox rows, as a scenario of its own at the end"
    )
    parser.add_argument("--backlog", type=int, default=0, help="also read so many events, tenth by tenth")
    parser.add_argument("--only", nargs="*", default=[], help="of the scenarios, those with such a word")
    options = parser.parse_args()
    with running() as bench:
        bench.connection.execute(TABLE)
        backlogs = Backlogs(bench)
        backlogs.make("bench-all", events=options.events)
        backlogs.make("bench-twice", events=options.events, twice=True)
        backlogs.make("bench-few", events=options.events // 10)
        backlogs.make("bench-slow", events=KEYS)
        scenarios = {
            "ceiling": Scenario("ceiling", "bench-all"),
            "set-wise": Scenario("set-wise", "bench-all"),
            "set-wise, nothing reported": Scenario("silent-set-wise", "bench-all"),
            "set-wise, 10 of 1,000 keys parked": Scenario("set-wise", "bench-all", parked=PARKED),
            "set-wise, 2 instances": Scenario("set-wise", "bench-all", instances=2),
            "set-wise, 4 instances": Scenario("set-wise", "bench-all", instances=4),
            "ceiling, half of it twice": Scenario("ceiling", "bench-twice"),
            "set-wise, half of it twice": Scenario("set-wise", "bench-twice"),
            "one at a time": Scenario("single", "bench-all"),
            "one transaction each": Scenario("transactions", "bench-few"),
            "waits 20 ms": Scenario("waiting", "bench-slow"),
            "waits 20 ms, 4 instances": Scenario("waiting", "bench-slow", instances=4),
        }
        chosen = {
            name: one
            for name, one in scenarios.items()
            if name == "ceiling" or not options.only or any(word in name for word in options.only)
        }
        backlogs.run(scenarios["ceiling"])  # not counted: Kafka and PostgreSQL start cold
        rates: dict[str, list[float]] = defaultdict(list)
        measure(backlogs, chosen, rounds=options.rounds, rates=rates)
        if options.old:
            add_old(bench, options.old)
            again = {f"{name}, {options.old:,} old rows": scenarios[name] for name in ("ceiling", "set-wise")}
            measure(backlogs, again, rounds=options.rounds, rates=rates)
        if options.rounds:
            report(rates)
        if options.backlog:
            drain(backlogs, options.backlog)


def measure(
    backlogs: Backlogs, scenarios: dict[str, Scenario], *, rounds: int, rates: dict[str, list[float]]
) -> None:
    """Each in its turn, round after round."""
    for number in range(rounds):
        for name, scenario in scenarios.items():
            rates[name].append(backlogs.run(scenario))
            line = f"{number + 1}. {name}: {rates[name][-1]:,.0f}, {backlogs.transactions} transactions"
            print(line, flush=True)  # noqa: T201


def drain(backlogs: Backlogs, count: int) -> None:
    """Print how fast each tenth of one large backlog is read, and the consumer's memory meanwhile."""
    name = topic = "bench-backlog"
    backlogs.make(topic, events=count)
    print(f"\n{'of ' + format(count, ','):>20}{'events/s':>10}{'memory MB':>11}")  # noqa: T201
    with backlogs.consuming(Scenario("set-wise", topic), name) as process:
        watched, last, there = psutil.Process(process.pid), time.monotonic(), 0
        for tenth in range(1, 11):
            before, highest, end = there, 0, time.monotonic() + DEADLINE
            while (there := backlogs.reached(name)) < count * tenth // 10:
                if time.monotonic() > end or process.poll() is not None:
                    raise TimeoutError(f"{topic} was not read")
                highest = max(highest, watched.memory_info().rss)
                time.sleep(POLL)
            now = time.monotonic()
            line = f"{there:20,}{(there - before) / (now - last):10,.0f}{highest / 1e6:11,.0f}"
            print(line, flush=True)  # noqa: T201
            last = now


def report(rates: dict[str, list[float]]) -> None:
    """Medians, and the medians of each round's ratios to its ceiling."""
    print(f"\n{'':44}{'records/s':>10}{'of ceiling':>12}")  # noqa: T201
    for name, found in rates.items():
        ceiling = rates[f"ceiling{name[name.index(',') :]}" if name.endswith("old rows") else "ceiling"]
        ratio = statistics.median(own / top for own, top in zip(found, ceiling, strict=True))
        print(f"{name:44}{statistics.median(found):10,.0f}{ratio:12.2f}")  # noqa: T201
    for one, other, what in PAIRS:
        if one in rates and other in rates:
            ratio = statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))
            print(f"{what}: {ratio:.2f}")  # noqa: T201


PAIRS = (
    ("one at a time", "one transaction each", "one at a time, of one transaction each"),
    ("set-wise", "set-wise, nothing reported", "set-wise, of the same with nothing reported"),
    ("set-wise, 10 of 1,000 keys parked", "set-wise", "with parked keys, of the same without"),
    ("set-wise, half of it twice", "ceiling, half of it twice", "half of it twice, of its own ceiling"),
    ("waits 20 ms, 4 instances", "waits 20 ms", "4 instances that wait, of one"),
)


if __name__ == "__main__":
    main()
