"""How fast a backlog reaches Kafka, as ratios against a ceiling that was measured beside it.

    .venv/bin/python -m benchmarks.relay --events 100000 --rounds 3
    .venv/bin/python -m benchmarks.relay --old 10000000
    .venv/bin/python -m benchmarks.relay --rounds 0 --backlog 1000000

The ceiling selects the same rows, sends the same records and flushes after each page of 5,000, and records
nothing. Relays are processes (`manage.py run_relay`) that find the whole backlog when the transaction that
wrote it commits. Every scenario takes its turn in each round, after a backlog that is not counted: Kafka
starts cold. Old rows, published in the last two weeks, are in a second database on the same server.
PostgreSQL and Kafka are real, with their durability at its defaults, on the same machine.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from benchmarks.arrivals import Arrivals, verify
from benchmarks.bench import DEADLINE, PAGE, Bench, running
from benchmarks.rows import insert, insert_old
from benchmarks.writers import percentiles

TOPIC = "payments"
OLD_DATABASE = "bench_old"
TENTHS = 10
POLL = 0.02
ROUNDS_OF_TICKS = 5
TICKS = 500


def relay(bench: Bench, *, relays: int = 1, held: bool = False) -> tuple[float, float]:
    """Seconds from the commit of a backlog until all of it is sent and recorded; megabytes of memory."""
    from django.db import connections, transaction

    from outbox.wake import wake

    with ExitStack() as around:
        processes = around.enter_context(bench.relays(relays))
        if held:
            other = around.enter_context(psycopg.connect(bench.url))
            other.execute("SELECT pg_current_xact_id()")
        with transaction.atomic(using=bench.using), connections[bench.using].cursor() as cursor:
            bench.fill(count=bench.events, keys=1_000, hot=held)
            cursor.execute("SELECT pg_current_xact_id()::text")
            [(xid,)] = cursor.fetchall()
            transaction.on_commit(lambda: wake(using=bench.using), using=bench.using)
        began = time.perf_counter()
        peak = 0
        question = "SELECT bool_and(pg_visible_in_snapshot(%s::xid8, previous)) FROM outbox_shard"
        while not bench.query(question, [xid])[0][0]:
            peak = max(peak, sum(one.memory_info().rss for one in processes))
            if time.perf_counter() - began > DEADLINE:
                raise TimeoutError("the backlog was not drained")
            time.sleep(POLL)
        return time.perf_counter() - began, peak / 1e6


def ceiling(bench: Bench) -> float:
    """Seconds in which the last backlog is selected, sent and flushed again, and nothing is recorded."""
    from confluent_kafka import Producer

    from outbox.config import config
    from outbox.envelope import binary_headers
    from outbox.keys import partition_of

    [(position,)] = bench.query("SELECT max(position) - %s FROM outbox_event", [bench.events])
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
    while rows := bench.query(
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
    if acknowledged != bench.events:
        raise RuntimeError(f"Kafka took {acknowledged} of {bench.events} records")
    return time.perf_counter() - began


def with_old(bench: Bench, count: int) -> Bench:
    """A second database, in which so many rows were published before."""
    from django.db import connections

    began = time.perf_counter()
    connections.close_all()
    bench.connection.close()
    address = urlsplit(bench.url)
    name = address.path.lstrip("/")
    with psycopg.connect(urlunsplit(address._replace(path="/postgres")), autocommit=True) as server:
        server.execute(f'CREATE DATABASE {OLD_DATABASE} TEMPLATE "{name}"')
    bench.connection = psycopg.connect(bench.url, autocommit=True)
    connections.settings[OLD_DATABASE] = {**connections.settings["default"], "NAME": OLD_DATABASE}
    url = urlunsplit(address._replace(path=f"/{OLD_DATABASE}"))
    other = Bench(bench.stack, events=bench.events, using=OLD_DATABASE, url=url)
    insert_old(other.connection, count)
    print(f"{count:,} old rows in {time.perf_counter() - began:.0f} s")  # noqa: T201
    return other


def ticks(bench: Bench) -> None:
    """Print what it costs to find that there is nothing to send: the question of an idle relay.

    Until it is answered, and the server process's part of that, in CPU.
    """
    from django.db import connections

    from outbox.keys import SHARDS
    from outbox.opening import Opener
    from outbox.window import Snapshot, fetch

    connection = connections[bench.using]
    opener = Opener(size=PAGE, using=bench.using)
    now, _ = opener.open(Snapshot(bench.query("SELECT pg_current_snapshot()::text")[0][0]), shards=[0])
    questions: dict[str, Callable[[], object]] = {
        "nothing to send": lambda: opener.open(now, shards=[*range(SHARDS)]),
        "SELECT 1": lambda: fetch("SELECT 1", {}, using=bench.using, prepare=True),
    }
    server = psutil.Process(connection.connection.info.backend_pid)
    taken: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, float] = defaultdict(float)
    for name, ask in list(questions.items()) * ROUNDS_OF_TICKS:
        before = sum(server.cpu_times()[:2])
        for _ in range(TICKS):
            began = time.perf_counter()
            ask()
            taken[name].append(time.perf_counter() - began)
        cpu[name] += sum(server.cpu_times()[:2]) - before
    connection.close()
    print(f"\n{'answered in':28}{'p50 ms':>8}{'p99 ms':>8}{'server ms':>11}")  # noqa: T201
    for name, seconds in taken.items():
        p50, p99 = percentiles(seconds, 0.5, 0.99)
        print(f"{name:28}{p50:8.2f}{p99:8.2f}{1000 * cpu[name] / len(seconds):11.2f}")  # noqa: T201


def drain(bench: Bench, count: int) -> None:
    """Print how fast each tenth of one large backlog reaches Kafka, and the relay's memory meanwhile.

    Afterwards all of Kafka's records are compared with the table. Raises RuntimeError when they differ.
    """
    from outbox import clock

    arrivals = Arrivals(bench.stack.kafka_bootstrap, TOPIC)
    arrivals.mark()
    [(position,)] = bench.query("SELECT last_value FROM outbox_event_position")
    with bench.relays(1) as (process,):
        with bench.connection.transaction():
            insert(bench.connection, count=count, start=clock.now(), chunk=10 * PAGE)
        began = last = time.perf_counter()
        print(f"\n{'of ' + format(count, ','):>20}{'events/s':>10}{'memory MB':>11}")  # noqa: T201
        there = peak = 0
        for tenth in range(1, TENTHS + 1):
            before, highest = there, 0
            while (there := arrivals.count()) < count * tenth // TENTHS:
                highest = max(highest, process.memory_info().rss)
                if time.perf_counter() - last > DEADLINE:
                    raise TimeoutError("the backlog was not drained")
                time.sleep(POLL)
            now = time.perf_counter()
            rate = (there - before) / (now - last)
            print(f"{tenth / TENTHS:20.0%}{rate:10,.0f}{highest / 1e6:11.0f}")  # noqa: T201
            last, peak = now, max(peak, highest)
    print(f"{'all':>20}{count / (last - began):10,.0f}{peak / 1e6:11.0f}")  # noqa: T201
    same = verify(arrivals, bench.connection, after=position, id_header="ce_id")
    print(f"{same:,} records are those of the table, each key's in order")  # noqa: T201


def report(taken: dict[str, list[float]], memory: dict[str, float], *, events: int) -> None:
    """Medians, and their ratios to the ceiling."""
    ceiling = statistics.median(taken["ceiling"])
    print(f"\n{'':44}{'events/s':>10}{'of ceiling':>12}{'memory MB':>11}")  # noqa: T201
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        shown = f"{memory[name]:.0f}" if name in memory else ""
        print(f"{name:44}{events / median:10,.0f}{ceiling / median:12.2f}{shown:>11}")  # noqa: T201


def report_dead(bench: Bench) -> None:
    """What updates and deletes have left in the outbox's tables, the partitions' under their tables."""
    rows = bench.query(
        "SELECT coalesce(parent.relname, one.relname), sum(n_dead_tup), sum(n_live_tup), sum(n_tup_upd),"
        " sum(n_tup_hot_upd), sum(n_tup_del), sum(autovacuum_count)"
        " FROM pg_stat_user_tables AS one LEFT JOIN pg_inherits ON inhrelid = one.relid"
        " LEFT JOIN pg_class AS parent ON parent.oid = inhparent"
        " WHERE one.relname LIKE 'outbox\\_%' GROUP BY 1 ORDER BY 1"
    )
    names = ("dead", "live", "updated", "of it HOT", "deleted", "autovacuums")
    print("\n" + "tuples".ljust(24) + "".join(name.rjust(13) for name in names))  # noqa: T201
    for table, *counts in rows:
        print(table.ljust(24) + "".join(f"{count:13,}" for count in counts))  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, help="of a backlog")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--old", type=int, default=0, help="rows published before, as a scenario of its own")
    parser.add_argument("--backlog", type=int, default=0, help="also drain so many events, tenth by tenth")
    options = parser.parse_args()
    with running(events=options.events) as bench:
        scenarios: dict[str, tuple[Bench, dict[str, Any]]] = {
            "one relay": (bench, {}),
            "one relay, a transaction held, a hot key": (bench, {"held": True}),
            "two relays": (bench, {"relays": 2}),
        }
        if options.old:
            other = with_old(bench, options.old)
            scenarios[f"one relay, {options.old:,} old rows"] = (other, {})
            ticks(other)
        # Not counted.
        relay(bench)
        ceiling(bench)
        if options.rounds:
            measure(scenarios, bench, rounds=options.rounds)
        if options.backlog:
            drain(bench, options.backlog)
        report_dead(bench)


def measure(scenarios: dict[str, tuple[Bench, dict[str, Any]]], bench: Bench, *, rounds: int) -> None:
    """Every scenario in each round, the ceiling beside each; print what they took."""
    taken: dict[str, list[float]] = defaultdict(list)
    memory: dict[str, float] = defaultdict(float)
    for number in range(rounds):
        for name, (where, how) in scenarios.items():
            seconds, peak = relay(where, **how)
            taken[name].append(seconds)
            memory[name] = max(memory[name], peak)
            taken["ceiling"].append(ceiling(bench))
        print(f"round {number + 1}: { ({name: round(found[-1], 2) for name, found in taken.items()}) }")  # noqa: T201
    report(taken, memory, events=bench.events)
    for name, (where, _) in scenarios.items():
        if where is not bench:
            ratios = [own / old for own, old in zip(taken["one relay"], taken[name], strict=True)]
            print(f"{name}: {statistics.median(ratios):.2f} of the speed without them")  # noqa: T201


if __name__ == "__main__":
    main()
