"""What has arrived in a topic of Kafka: how much, when, and that it is what was written."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition

from outbox.keys import partition_of

TIMEOUT = 10.0


class Arrivals:
    """The records of one topic from `mark()` on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.topic = topic
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False}
        )
        partitions = self._consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._begin: dict[int, int] = {}

    def mark(self) -> None:
        """Begin here."""
        self._begin = self._ends()

    @property
    def partitions(self) -> int:
        return len(self._partitions)

    def count(self) -> int:
        """How many records there are, by the offsets at which the partitions end."""
        return sum(self._ends().values()) - sum(self._begin.values())

    def next_after(self, commit: Callable[[], float]) -> float:
        """Seconds from the commit of one event, whose moment it returns, until a consumer has its record."""
        self.follow()
        committed = commit()
        self.next()
        return time.perf_counter() - committed

    def follow(self) -> None:
        """Have next() return what arrives from now on."""
        self._assign(self._ends())
        # Its first fetch would take longer.
        self._consumer.poll(0.2)

    def next(self) -> Any:
        """The next record, as soon as it is there. Raises TimeoutError."""
        if (record := self._poll(TIMEOUT)) is None:
            raise TimeoutError(f"nothing arrived in {self.topic}")
        return record

    def read(self) -> Iterator[Any]:
        """All records, each partition's in order."""
        self._assign(self._begin)
        for _ in range(self.count()):
            if (record := self._poll(TIMEOUT)) is None:
                raise TimeoutError(f"the records of {self.topic} cannot be read")
            yield record

    def _ends(self) -> dict[int, int]:
        return {
            part.partition: self._consumer.get_watermark_offsets(part, timeout=TIMEOUT)[1]
            for part in self._partitions
        }

    def _assign(self, offsets: dict[int, int]) -> None:
        self._consumer.assign(
            [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        )

    def _poll(self, timeout: float) -> Any:
        record = self._consumer.poll(timeout)
        if record is not None and record.error():
            raise KafkaException(record.error())
        return record


def verify(arrivals: Arrivals, connection: psycopg.Connection, *, after: int, id_header: str) -> int:
    """Compare the records with the rows written after a position; return how many they are.

    Each event is there once, in the partition of its key and in the order of its numbers, which begin with 1,
    with its key, payload and headers. Raises RuntimeError.
    """
    found: dict[str, tuple[Any, ...]] = {}
    last: dict[str, int] = defaultdict(int)
    read = 0
    for record in arrivals.read():
        headers = dict(record.headers())
        number, key = int(headers["ce_sequence"]), record.key().decode()
        if record.partition() != partition_of(key, arrivals.partitions):
            raise RuntimeError(f"{arrivals.topic}: {number} of {key} is in partition {record.partition()}")
        if number != last[key] + 1:
            raise RuntimeError(f"{arrivals.topic}: {number} of {key} does not follow {last[key]}")
        last[key] = number
        found[headers[id_header].decode()] = (
            key,
            number,
            _digest(record.value()),
            *(headers[name].decode() for name in ("ce_source", "ce_type", "ce_subject", "ce_partitionkey")),
            headers["ce_correlationid"].decode(),
            datetime.fromisoformat(headers["ce_time"].decode()),
            headers["content-type"].decode(),
        )
        read += 1
    rows = 0
    with connection.transaction(), connection.cursor("written") as cursor:
        cursor.execute(
            "SELECT id::text, key, number, payload, source, type, key, key, correlation_id::text,"
            " occurred_at, content_type FROM outbox_event WHERE position > %s",
            [after],
        )
        for event, key, number, payload, *others in cursor:
            rows += 1
            if found.get(event) != (key, number, _digest(payload), *others):
                raise RuntimeError(f"{arrivals.topic}: event {event} is missing or is another")
    if not read == len(found) == rows:
        raise RuntimeError(f"{arrivals.topic}: {read} records of {len(found)} events, written were {rows}")
    return rows


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=16).digest()
