"""A consumer as a process, for benchmarks/consumer.py: `python -m benchmarks.consuming KIND NAME TOPIC N`.

Its effect is one row for each event. KIND says how that is written.
"""

import os
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")

TABLE = """
CREATE TABLE IF NOT EXISTS bench_effect (consumer text, event_id uuid, key text, filler text);
"""
WAIT_SECONDS = 0.02
BATCH = 500
# Where an event takes so long, small ones let the time be taken exactly.
BATCHES = {"transactions": 1, "waiting": 10}
_INSERT = "INSERT INTO bench_effect SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::text[])"


def declare(kind: str, name: str, topic: str) -> Any:
    """A consumer of that kind: set-wise, one at a time, or waiting."""
    from django.db import connection

    from outbox import Consumer, Delivery, Event, Topic, handles, handles_batch

    place = Topic(topic, partitions=4, retention=timedelta(days=1))

    class Written(Event, frozen=True, kw_only=True):
        """What the benchmark sent."""

        type: ClassVar[str] = "bench.Written.v1"
        topic: ClassVar[Topic] = place
        filler: str

        def key(self) -> str:
            return self.filler

    consumer = Consumer(name=name, sync_delay_limit=timedelta(seconds=5))

    def effects(deliveries: list[Delivery[Any]]) -> None:
        with connection.cursor() as sql:
            sql.execute(
                _INSERT,
                [
                    name,
                    [one.id for one in deliveries],
                    [one.key for one in deliveries],
                    [one.event.filler[:20] for one in deliveries],
                ],
            )

    if kind == "set-wise":
        handles_batch(consumer, Written)(effects)
    elif kind == "waiting":
        handles(consumer, Written)(lambda delivery: time.sleep(WAIT_SECONDS))
    else:
        handles(consumer, Written)(lambda delivery: effects([delivery]))
    return consumer


def ceiling(name: str, topic: str, stop: threading.Event) -> None:
    """The least that does the same: read, claim ids, keep last numbers, write effects, commit offsets."""
    import json
    from uuid import UUID

    from confluent_kafka import Consumer as Client
    from django.db import connection, transaction

    from outbox.config import config

    client = Client(
        {
            **config().kafka,
            "group.id": name,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    client.subscribe([topic])
    while not stop.is_set():
        messages = client.consume(BATCH, 0.5)
        rows: dict[UUID, tuple[Any, ...]] = {}
        numbers: dict[str, int] = {}
        for one in messages:
            message: Any = one
            headers = dict(message.headers())
            key, event_id = message.key().decode(), UUID(headers["ce_id"].decode())
            number, data = int(headers["ce_sequence"]), json.loads(message.value())
            numbers[key] = number
            rows[event_id] = (
                message.partition(), message.offset(), key, number, headers["ce_type"].decode(),
                headers["ce_time"].decode(), data["filler"][:20],
            )  # fmt: skip
        if not messages:
            continue
        with transaction.atomic(), connection.cursor() as sql:
            columns = [list(column) for column in zip(*rows.values(), strict=True)]
            sql.execute(
                'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", key,'
                " number, type, outcome, occurred_at) SELECT id, %s, 1, %s, partition, place, key, number,"
                " type, 'processed', at FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::text[],"
                " %s::bigint[], %s::text[], %s::timestamptz[])"
                " AS one (id, partition, place, key, number, type, at)"
                " ORDER BY id ON CONFLICT DO NOTHING RETURNING event_id",
                [name, topic, list(rows), *columns[:6]],
            )
            new = [event_id for (event_id,) in sql.fetchall()]
            sql.execute(
                "INSERT INTO outbox_key_progress AS known (consumer, generation, topic, key, number)"
                " SELECT %s, 1, %s, * FROM unnest(%s::text[], %s::bigint[]) AS one (key, number) ORDER BY key"
                " ON CONFLICT (consumer, generation, topic, key) DO UPDATE SET number = EXCLUDED.number"
                " WHERE known.number < EXCLUDED.number",
                [name, topic, list(numbers), list(numbers.values())],
            )
            sql.execute(_INSERT, [name, new, [rows[one][2] for one in new], [rows[one][6] for one in new]])
        client.commit(asynchronous=True)
    client.close()


def main() -> None:
    kind, name, topic, count = sys.argv[1:]
    django.setup()
    from outbox.config import config
    from outbox.consumer import ConsumerWorker
    from outbox.garbage import collect_seldom
    from outbox.instances import Instances

    collect_seldom()
    settings = replace(config(), consumer_batch=BATCHES.get(kind, BATCH))
    consumer = None if kind == "ceiling" else declare(kind.removeprefix("silent-"), name, topic)
    if kind.startswith("silent-"):
        from outbox.reporting import Reporter

        def nothing(reporter: Reporter) -> None:
            """Report nothing."""

        Reporter._report = Reporter._sample = nothing  # type: ignore[method-assign,assignment]

    def work(stop: threading.Event, _: int) -> None:
        if consumer is None:
            ceiling(name, topic, stop)
        else:
            ConsumerWorker(consumer, stop=stop, settings=settings).run()

    sys.exit(Instances(name, work, count=int(count)).run())


if __name__ == "__main__":
    main()
