"""Kafka and every consumer in one call: what was published is sent, and processed to the last consequence."""

from collections.abc import Collection
from itertools import count

from django.db import connection

from outbox.envelope import headers_of
from outbox.kafka import Record
from outbox.models import InboxEntry, OutboxEvent, Publication
from outbox.processor import Processor
from outbox.registry import all_consumers

_offsets = count()


def settle(*, but: Collection[str] = ()) -> None:
    """Send every event and have every consumer process it, and what follows, until nothing is left.

    `but` names consumers that are down.
    """
    while _send() + sum(_consume(consumer.name) for consumer in all_consumers() if consumer.name not in but):
        pass


def _send() -> int:
    unsent = OutboxEvent.objects.exclude(id__in=Publication.objects.values("event_id"))
    rows = [(event_id, next(_offsets)) for event_id in unsent.values_list("id", flat=True)]
    with connection.cursor() as cursor:
        cursor.executemany(
            'INSERT INTO outbox_publication (event_id, partition, "offset") VALUES (%s, 0, %s)', rows
        )
    return len(rows)


def _consume(name: str) -> int:
    [consumer] = [each for each in all_consumers() if each.name == name]
    known = InboxEntry.objects.filter(consumer=name).values("event_id")
    events = OutboxEvent.objects.filter(topic__in=consumer.topics).exclude(id__in=known).order_by("position")
    records = [_record(event) for event in events]
    Processor(consumer).run(records)
    return len(records)


def _record(event: OutboxEvent) -> Record:
    return Record(
        topic=event.topic,
        partition=0,
        offset=next(_offsets),
        key=None if event.key is None else event.key.encode(),
        value=bytes(event.payload),
        headers=headers_of(event),
        timestamp=event.occurred_at,
    )
