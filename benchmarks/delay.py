"""How long after its commit an event is in Kafka, at several rates, with one relay.

    .venv/bin/python -m benchmarks.delay --rates 50 200 1000 --seconds 10 --rounds 3

An open loop: events are published, one in a transaction, by a few processes at times that were set before. A
delay counts from the moment the COMMIT returned until a consumer here has the record: an upper bound, for the
record is in Kafka before. Beside it, the same record sent from here and read again, without a table or relay
(Kafka alone), at the lowest rate. How late the loop itself ran says whether the machine could keep up.
PostgreSQL and Kafka are real, with their durability at its defaults.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from uuid import uuid4

from benchmarks.arrivals import Arrivals
from benchmarks.bench import PAYLOAD, running
from benchmarks.publish import SPREAD, Written
from benchmarks.writers import Writers, percentiles, wait_until, writers

TOPIC = "payments"
WRITERS = 4
WARM_UP_SECONDS = 3.0
# Of one process: the id of each event, when it was to begin, began, and was committed.
Moments = list[tuple[str, float, float, float]]


def publish_at(number: int, begin: float, *, rate: float, seconds: float) -> Moments:
    """One writer's share of so many events a second."""
    from django.db import connection, transaction

    from outbox import publish

    connection.ensure_connection()
    moments: Moments = []
    for place in range(number, int(rate * seconds), WRITERS):
        due = begin + place / rate
        wait_until(due)
        began = time.monotonic()
        committed: list[float] = []
        with transaction.atomic():
            # Before publish() has the relay woken.
            transaction.on_commit(partial(_note, committed))
            event_id = publish(Written(subject=SPREAD[place % len(SPREAD)]))
        moments.append((str(event_id), due, began, committed[0]))
    return moments


def _note(moments: list[float]) -> None:
    moments.append(time.monotonic())


def send_at(number: int, begin: float, *, rate: float, seconds: float) -> Moments:
    """The same with Kafka alone; the moment before sending stands for the commit."""
    from confluent_kafka import Producer

    from outbox.config import config

    producer = Producer({**config().kafka, "enable.idempotence": True, "acks": "all", "linger.ms": 0})
    producer.list_topics(timeout=5)
    moments: Moments = []
    for place in range(number, int(rate * seconds), WRITERS):
        due, event_id = begin + place / rate, str(uuid4())
        while (left := due - time.monotonic()) > 0:
            producer.poll(left)
        began = time.monotonic()
        producer.produce(TOPIC, PAYLOAD, key=SPREAD[place % len(SPREAD)], headers={"ce_id": event_id})
        moments.append((event_id, due, began, began))
    producer.flush()
    return moments


class Measured:
    """Delays, and how late the loop ran, over all rounds; seconds."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.late: list[float] = []
        self.writing: list[float] = []

    def add(self, moments: Moments, arrived: dict[str, float]) -> None:
        """One writer's."""
        for event_id, due, began, committed in moments:
            self.delays.append(arrived[event_id] - committed)
            self.late.append(began - due)
            self.writing.append(committed - began)


def measure(
    crew: Writers, arrivals: Arrivals, how: Callable[..., Moments], *, rate: float, seconds: float
) -> tuple[list[Moments], dict[str, float]]:
    """What the writers did, and when each record was here."""
    arrivals.follow()
    crew.begin(partial(how, rate=rate, seconds=seconds))
    arrived: dict[str, float] = {}
    while len(arrived) < int(rate * seconds):
        record = arrivals.next()
        arrived.setdefault(dict(record.headers())["ce_id"].decode(), time.monotonic())
    return crew.results(), arrived


def report(measured: dict[str, Measured]) -> None:
    """Milliseconds."""
    print(f"\n{'':18}{'events':>8}{'p50':>9}{'p90':>9}{'p99':>9}", end="")  # noqa: T201
    print(f"{'late p50':>11}{'late p99':>10}{'writing p50':>13}   ms")  # noqa: T201
    for name, one in measured.items():
        line = f"{name:18}{len(one.delays):8,}"
        line += "".join(f"{value:9.1f}" for value in percentiles(one.delays, 0.5, 0.9, 0.99))
        late = percentiles(one.late, 0.5, 0.99)
        print(f"{line}{late[0]:11.1f}{late[1]:10.1f}{percentiles(one.writing, 0.5)[0]:13.1f}")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 1000], help="events a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a rate in a round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("DATABASE_PREPARED", "true")
    with running() as bench, writers(WRITERS) as crew, bench.relays(1):
        arrivals = Arrivals(bench.stack.kafka_bootstrap, TOPIC)
        scenarios: dict[str, tuple[Callable[..., Moments], float]] = {
            "Kafka alone": (send_at, min(options.rates)),
            **{f"{rate:,g} a second": (publish_at, rate) for rate in options.rates},
        }
        measured: dict[str, Measured] = defaultdict(Measured)
        for number in range(options.rounds):
            for name, (how, rate) in scenarios.items():
                if not number:
                    # Not counted.
                    measure(crew, arrivals, how, rate=rate, seconds=WARM_UP_SECONDS)
                done, arrived = measure(crew, arrivals, how, rate=rate, seconds=options.seconds)
                for moments in done:
                    measured[name].add(moments, arrived)
        report(measured)


if __name__ == "__main__":
    main()
