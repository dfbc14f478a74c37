"""What publish() costs the transaction that calls it, as ratios against inserting the same row by hand.

    .venv/bin/python -m benchmarks.publish --seconds 3 --rounds 3

Each transaction inserts a business row, and one event or ten. By hand is an INSERT of the same 510 bytes and
the same columns into a plain table: with the indexes that the relay needs (bare), or with all those of a
partition of the outbox (indexed). By hand nothing is numbered and no relay is woken. The variants take turns
in each round; ratios are medians of the rounds'. PostgreSQL is real, with its durability at its defaults, and
statements are prepared as web processes have them.
"""

import argparse
import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any, ClassVar
from uuid import UUID, uuid4

from benchmarks.bench import PAYLOAD, running
from benchmarks.writers import Writers, percentiles, wait_until, writers
from contracts.topics import PAYMENTS
from outbox.events import Event
from outbox.topics import Topic

TEN = 10
WARM_UP_SECONDS = 1.0
SPREAD = [str(UUID(int=number)) for number in range(10_000)]
HOT = SPREAD[:1]
KEYS = {"spread keys": SPREAD, "one hot key": HOT}

_TABLES = """
CREATE TABLE bench_payment (
    id uuid PRIMARY KEY, amount_minor bigint NOT NULL, currency text NOT NULL, status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bench_bare (LIKE outbox_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE bench_bare ADD PRIMARY KEY (id);
CREATE INDEX ON bench_bare (position);
CREATE INDEX ON bench_bare (txid, position);
CREATE TABLE bench_indexed (LIKE outbox_event INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
"""
_PAY = "INSERT INTO bench_payment (id, amount_minor, currency, status) VALUES (%s, 1250, 'EUR', 'validated')"
_INSERT = """
INSERT INTO {} (id, shard, topic, key, hash, number, partition, type, source, occurred_at, correlation_id,
    causation_id, traceparent, content_type, payload, owner)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_BARE, _INDEXED = _INSERT.format("bench_bare"), _INSERT.format("bench_indexed")


class Written(Event, frozen=True, kw_only=True):
    """An event whose payload has as many bytes as the others' here."""

    type: ClassVar[str] = "bench.Written.v1"
    topic: ClassVar[Topic] = PAYMENTS
    subject: str
    filler: str = "x" * (len(PAYLOAD) - len('{"subject":"","filler":""}') - len(HOT[0]))

    def key(self) -> str:
        return self.subject


def alone(keys: list[str]) -> None:
    """The business row, and no event."""
    from django.db import transaction

    with transaction.atomic():
        _execute(_PAY, [uuid4()])


def by_hand(keys: list[str], *, statement: str) -> None:
    """The business row, and a row for each key."""
    from django.db import transaction

    with transaction.atomic():
        _execute(_PAY, [uuid4()])
        for key in keys:
            _execute(statement, _row(key))


def published(keys: list[str]) -> None:
    """The business row, and publish() for each key."""
    from django.db import transaction

    from outbox import publish

    with transaction.atomic():
        _execute(_PAY, [uuid4()])
        for key in keys:
            publish(Written(subject=key))


def published_together(keys: list[str]) -> None:
    """The same in outbox.atomic()."""
    import outbox

    with outbox.atomic():
        _execute(_PAY, [uuid4()])
        for key in keys:
            outbox.publish(Written(subject=key))


def _execute(statement: str, parameters: list[Any]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _row(key: str) -> list[Any]:
    from outbox import clock
    from outbox.ids import new_id
    from outbox.keys import hash_of, shard_of

    now = clock.now()
    event_id = new_id(now)
    return [
        event_id, shard_of(key), "payments", key, hash_of(key), 1, None, "bench.Written.v1", "/bench", now,
        event_id, None, None, "application/json", PAYLOAD, None,
    ]  # fmt: skip


# Events of a transaction, how they are written, and by which of these the time is divided.
VARIANTS: dict[str, tuple[int, Callable[[list[str]], None], str]] = {
    "no event": (0, alone, "bare"),
    "bare": (1, partial(by_hand, statement=_BARE), "bare"),
    "indexed": (1, partial(by_hand, statement=_INDEXED), "bare"),
    "publish()": (1, published, "bare"),
    "bare, 10": (TEN, partial(by_hand, statement=_BARE), "bare, 10"),
    "indexed, 10": (TEN, partial(by_hand, statement=_INDEXED), "bare, 10"),
    "outbox.atomic(), 10": (TEN, published_together, "bare, 10"),
}


def work(number: int, begin: float, *, variant: str, keys: str, seconds: float) -> list[float]:
    """One writer's transactions for so long; how many seconds each took."""
    events, write, _ = VARIANTS[variant]
    chosen = random.Random(f"{number} {begin}")  # noqa: S311 - nothing secret about it
    taken = []
    wait_until(begin)
    while (began := time.monotonic()) < begin + seconds:
        write([chosen.choice(KEYS[keys]) for _ in range(events)])
        taken.append(time.monotonic() - began)
    return taken


class Measured:
    """Every variant with so many writers and such keys, round by round."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def round(self, crew: Writers, *, keys: str, seconds: float, turn: int) -> None:
        """Each once; another one begins in each round."""
        names = [*VARIANTS]
        for variant in names[turn % len(names) :] + names[: turn % len(names)]:
            found = crew.run(partial(work, variant=variant, keys=keys, seconds=seconds))
            self.rates[variant].append(sum(map(len, found)) / seconds)
            self.seconds[variant] += chain.from_iterable(found)

    def times(self, variant: str, other: str) -> float:
        """How many times the other's time a transaction takes."""
        pairs = zip(self.rates[other], self.rates[variant], strict=True)
        return statistics.median(its / own for its, own in pairs)

    def report(self, title: str) -> None:
        """Medians."""
        print(f"\n{title:22}{'tx/s':>9}{'of no event':>13}{'of bare':>9}{'p50 ms':>9}{'p99 ms':>9}")  # noqa: T201
        for variant, (_, _, bare) in VARIANTS.items():
            rate = statistics.median(self.rates[variant])
            p50, p99 = percentiles(self.seconds[variant], 0.5, 0.99)
            ratios = f"{self.times(variant, 'no event'):13.2f}{self.times(variant, bare):9.2f}"
            print(f"{variant:22}{rate:9,.0f}{ratios}{p50:9.2f}{p99:9.2f}")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of a variant in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 8], help="processes at once")
    options = parser.parse_args()
    os.environ.setdefault("DATABASE_PREPARED", "true")
    with running() as bench:
        bench.connection.execute(_TABLES)
        for table in ("bench_bare", "bench_indexed"):
            # Not to have the tables draw their positions from one sequence.
            bench.connection.execute(f"CREATE SEQUENCE {table}_position")
            bench.connection.execute(
                f"ALTER TABLE {table} ALTER position SET DEFAULT nextval('{table}_position')"
            )
        print("times of a transaction, as multiples of those without an event and of the bare insert's")  # noqa: T201
        for count in options.writers:
            with writers(count) as crew:
                for keys in KEYS:
                    Measured().round(crew, keys=keys, seconds=WARM_UP_SECONDS, turn=0)
                    measured = Measured()
                    for turn in range(options.rounds):
                        measured.round(crew, keys=keys, seconds=options.seconds, turn=turn)
                    measured.report(f"{count} writers, {keys}" if count > 1 else f"1 writer, {keys}")


if __name__ == "__main__":
    main()
