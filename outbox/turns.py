"""Whose turn it is among the events that wait behind gaps."""

from collections.abc import Set

from outbox.kafka import Placement
from outbox.models import WaitingEvent
from outbox.registry import Consumer

# A gap has closed when the next number waits, or nothing that has a number. Who has none needs not wait then.
# Of a compacted topic no event waits for another.
_FIRST_DUE = """
SELECT next.* FROM outbox_parked_key AS parked
JOIN outbox_key_progress AS progress USING (consumer, generation, topic, key)
CROSS JOIN LATERAL (
    SELECT * FROM outbox_waiting_event AS waiting
    WHERE (waiting.consumer, waiting.generation, waiting.topic, waiting.key)
        = (parked.consumer, parked.generation, parked.topic, parked.key)
        AND (waiting.number IS NULL OR waiting.number <= progress.number + 1
            OR waiting.topic = ANY(%(compacted)s::text[]))
    ORDER BY waiting.id LIMIT 1
) AS next
WHERE parked.consumer = %(consumer)s AND parked.generation = %(generation)s AND parked.cause = 'gap'
    AND (next.topic, next.partition) IN (SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::integer[]))
    AND (next.number IS NOT NULL OR coalesce((
        SELECT min(waiting.number) <= progress.number + 1 OR parked.topic = ANY(%(compacted)s::text[])
        FROM outbox_waiting_event AS waiting
        WHERE (waiting.consumer, waiting.generation, waiting.topic, waiting.key)
            = (parked.consumer, parked.generation, parked.topic, parked.key)
    ), true))
ORDER BY next.id LIMIT 1
"""


def first_due(consumer: Consumer, *, generation: int, places: Set[Placement]) -> WaitingEvent | None:
    """The first event read from these partitions that waits although its gap has closed, if there is one."""
    found = WaitingEvent.objects.using(consumer.using).raw(
        _FIRST_DUE,
        {
            "consumer": consumer.name,
            "generation": generation,
            "topics": [topic for topic, _ in places],
            "partitions": [number for _, number in places],
            "compacted": list(consumer.compacted),
        },
    )
    return next(iter(found), None)
