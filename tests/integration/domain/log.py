"""Kafka without Kafka: partitions filled from the outbox, read by consumers at any pace, and again."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from uuid import UUID

from outbox.envelope import headers_of
from outbox.kafka import Record
from outbox.models import OutboxEvent
from outbox.processor import Processor
from outbox.registry import get_consumer

PARTITIONS = 4
Place = tuple[str, int]


@dataclass
class Log:
    """The events of one owner, each appended once to a partition, in the relay's order.

    All of a payment, and all of its order, go to one partition each, chosen by the payment's place among
    all: ids differ from run to run, and what hypothesis found must be found again.
    """

    owner: str
    partitions: dict[Place, list[tuple[OutboxEvent, Record]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _position: int = 0
    _payments: dict[UUID, int] = field(default_factory=dict)
    _read: dict[tuple[str, Place], int] = field(default_factory=lambda: defaultdict(int))

    def fill(self) -> None:
        """Append what was published since."""
        for event in OutboxEvent.objects.filter(owner=self.owner, position__gt=self._position).order_by(
            "position"
        ):
            self._position = event.position
            assert event.key is not None
            about = payment_of(event)
            place = event.topic, self._payments.setdefault(about, len(self._payments)) % PARTITIONS
            record = Record(
                topic=event.topic,
                partition=place[1],
                offset=len(self.partitions[place]),
                key=event.key.encode(),
                value=bytes(event.payload),
                headers=headers_of(event),
                timestamp=event.occurred_at,
            )
            self.partitions[place].append((event, record))

    def waiting(self, consumer: str) -> list[Place]:
        """The partitions in which this consumer has not read everything."""
        topics = get_consumer(consumer).topics
        return [
            place
            for place, records in sorted(self.partitions.items())
            if place[0] in topics and self._read[consumer, place] < len(records)
        ]

    def deliver(self, consumer: str, place: Place, *, count: int, again: int = 0) -> list[tuple[str, UUID]]:
        """Hand over the next `count` records, and the last `again` before them once more, in one batch.

        Returns the type and the payment of each event that was new to the consumer.
        """
        start = self._read[consumer, place]
        batch = self.partitions[place][max(0, start - again) : start + count]
        # A new instance each time: whatever it knows, it knows from the database.
        Processor(get_consumer(consumer)).run([record for _, record in batch])
        new = self.partitions[place][start : start + count]
        self._read[consumer, place] = start + len(new)
        return [(event.type, payment_of(event)) for event, _ in new]


def payment_of(event: OutboxEvent) -> UUID:
    """The payment an event is about: every event of the domain says it."""
    return UUID(json.loads(bytes(event.payload))["payment_id"])
