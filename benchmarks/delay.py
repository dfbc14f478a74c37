"""How long an event takes from its commit to a reader of Kafka, at several rates.

    .venv/bin/python -m benchmarks.delay --rates 50 200 1000 --seconds 20

Eight threads publish on a schedule, each event in a transaction of its own; one relay process. The delay
counts from the moment at which the commit returned to the moment at which a consumer in this process has the
record, and so holds the consumer's fetch as well. The schedule does not wait for anything: how far behind it
the commits were is shown beside.
"""

import argparse
import statistics
import threading
import time
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

from benchmarks.relay import Bench
from benchmarks.servers import own_servers

TOPIC = "loyalty"
WRITERS = 8
DEADLINE = 60.0


class Reader(threading.Thread):
    """Notes when each event was there."""

    def __init__(self, bootstrap: str) -> None:
        from confluent_kafka import Consumer, TopicPartition

        super().__init__(daemon=True)
        self.arrived: dict[UUID, float] = {}
        self._stop_reading = threading.Event()
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False}
        )
        partitions = self._consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        parts = [TopicPartition(TOPIC, number) for number in partitions]
        for part in parts:
            part.offset = self._consumer.get_watermark_offsets(part, timeout=10)[1]
        self._consumer.assign(parts)

    def run(self) -> None:
        while not self._stop_reading.is_set():
            record = self._consumer.poll(0.1)
            if record is not None and record.error() is None:
                at, headers = time.perf_counter(), dict[str, Any](record.headers() or [])
                self.arrived[UUID(headers["ce_id"].decode())] = at
        self._consumer.close()

    def end(self) -> None:
        self._stop_reading.set()
        self.join()


def publish_at(rate: float, *, seconds: float) -> tuple[dict[UUID, float], list[float]]:
    """When each event was committed, and how far behind the schedule each was begun, in seconds."""
    from django.db import connection, transaction

    import outbox
    from contracts.loyalty import PointsEarned

    committed: dict[UUID, float] = {}
    late: list[float] = []
    began = time.perf_counter() + 0.2

    def write(first: int) -> None:
        for number in range(first, int(rate * seconds), WRITERS):
            due = began + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            late.append(time.perf_counter() - due)
            with transaction.atomic():
                event = PointsEarned(
                    entry_id=uuid4(),
                    merchant_id=UUID(int=7),
                    customer_id=f"c-{number % 500}",
                    payment_id=uuid4(),
                    points=1,
                )
                event_id = outbox.publish(event)
            committed[event_id] = time.perf_counter()
        connection.close()

    threads = [threading.Thread(target=write, args=(first,)) for first in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return committed, late


def delays_at(bench: Bench, rate: float, *, seconds: float) -> tuple[list[float], list[float]]:
    """Each event's delay, and each one's distance from the schedule, in milliseconds."""
    reader = Reader(bench.stack.kafka_bootstrap)
    reader.start()
    committed, late = publish_at(rate, seconds=seconds)
    end = time.monotonic() + DEADLINE
    while committed.keys() - reader.arrived.keys():
        if time.monotonic() > end:
            raise TimeoutError("events are missing in Kafka")
        time.sleep(0.01)
    reader.end()
    return [(reader.arrived[one] - at) * 1e3 for one, at in committed.items()], [one * 1e3 for one in late]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[50, 200, 1_000], help="events a second")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with own_servers() as stack, ExitStack() as running:
        bench = Bench(stack, events=0)
        bench.prepare()
        running.enter_context(bench.relays(1))
        delays_at(bench, 50, seconds=3)  # Kafka and the relay are cold
        print(f"{'events/s':>8}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}{'late p99 ms':>13}")  # noqa: T201
        for rate in options.rates:
            delays, late = delays_at(bench, rate, seconds=options.seconds)
            cuts = statistics.quantiles(delays, n=100)
            behind = statistics.quantiles(late, n=100)[98]
            print(f"{rate:8.0f}{cuts[49]:9.1f}{cuts[89]:9.1f}{cuts[98]:9.1f}{behind:13.1f}")  # noqa: T201


if __name__ == "__main__":
    main()
