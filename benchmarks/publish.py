"""What publish() costs: against a bare INSERT of the same row, and against no outbox at all.

    .venv/bin/python -m benchmarks.publish --seconds 5 --rounds 3

Each transaction writes a row of business; "bare" inserts the event's columns into a plain table with the
indexes of a partition of the outbox as well, "publish" calls publish(). Writers are processes, for threads
would share one interpreter. The manners take turns in each round.
"""

import argparse
import multiprocessing
import statistics
import time
from collections import defaultdict
from multiprocessing.synchronize import Barrier
from typing import Any
from uuid import UUID, uuid4

from benchmarks.relay import Bench
from benchmarks.servers import own_servers

MANNERS = ("no outbox", "bare", "publish")

_TABLES = """
CREATE TABLE bench_business (id uuid PRIMARY KEY, amount integer NOT NULL);
CREATE TABLE bench_event (LIKE {partition} INCLUDING DEFAULTS INCLUDING INDEXES);
"""
_BUSINESS = "INSERT INTO bench_business VALUES (%s, %s)"
_BARE = """
INSERT INTO bench_event (id, shard, topic, key, hash, number, type, source, occurred_at, correlation_id,
    content_type, payload)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def write(manner: str, seconds: float, seed: int, ready: Barrier, done: Any) -> None:
    """One writer; it tells how many transactions it has committed."""
    import django

    django.setup()
    from django.db import connection, transaction

    import outbox
    from contracts.loyalty import PointsEarned
    from outbox import clock
    from outbox.ids import new_id
    from outbox.keys import hash_of, shard_of

    def once(number: int) -> None:
        event = PointsEarned(
            entry_id=uuid4(),
            merchant_id=UUID(int=7),
            customer_id=f"c-{seed}-{number % 1000}",
            payment_id=uuid4(),
            points=1,
        )
        with transaction.atomic():
            with connection.cursor() as sql:
                sql.execute(_BUSINESS, [uuid4(), number])
                if manner == "bare":
                    payload, key, now = event.to_json(), event.key(), clock.now()
                    event_id = new_id(now)
                    sql.execute(
                        _BARE,
                        [
                            event_id,
                            shard_of(key),
                            "loyalty",
                            key,
                            hash_of(key),
                            number,
                            event.type,
                            "/bench",
                            now,
                            event_id,
                            "application/json",
                            payload,
                        ],
                    )
            if manner == "publish":
                outbox.publish(event)

    for number in range(20):
        once(number)
    ready.wait()
    end, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        once(count)
        count += 1
    done.put(count / seconds)


def rate_of(manner: str, *, writers: int, seconds: float) -> float:
    """Transactions a second of all writers together."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(writers), context.Queue()
    processes = [
        context.Process(target=write, args=(manner, seconds, seed, ready, done)) for seed in range(writers)
    ]
    for process in processes:
        process.start()
    rate = sum(done.get(timeout=seconds + 60) for _ in processes)
    for process in processes:
        process.join()
    return float(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    with own_servers() as stack:
        bench = Bench(stack, events=0)
        bench.prepare()
        [(partition,)] = bench.query(
            "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'outbox_event'::regclass"
        )
        bench.connection.execute(_TABLES.format(partition=partition))
        print(f"{'writers':>8}{'manner':>12}{'tx/s':>9}{'time, of bare':>15}")  # noqa: T201
        for writers in options.writers:
            rates: dict[str, list[float]] = defaultdict(list)
            for number in range(options.rounds):
                turn = number % len(MANNERS)
                for manner in MANNERS[turn:] + MANNERS[:turn]:
                    rates[manner].append(rate_of(manner, writers=writers, seconds=options.seconds))
            bare = statistics.median(rates["bare"])
            for manner in MANNERS:
                rate = statistics.median(rates[manner])
                print(f"{writers:8}{manner:>12}{rate:9.0f}{bare / rate:15.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
