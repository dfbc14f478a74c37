"""When the oldest event happened that a consumer has yet to process, by the traces that the relay left."""

import logging
from collections import defaultdict
from datetime import datetime, timedelta

from django.db import OperationalError, connections, transaction

from outbox.ids import lowest_id
from outbox.kafka import Placement
from outbox.positions import Position
from outbox.recovery import Family, family_of

logger = logging.getLogger(__name__)

# So many traces are looked at for the oldest event left in a partition. Where nothing of the outbox is left,
# there may be years of them.
TRACES = 5_000
# An event may be traced later than one that happened after it.
SLACK = timedelta(seconds=10)

_OLDEST = """
SELECT asked.topic, asked.partition, oldest.occurred_at
FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::uuid[]) AS asked (topic, partition, reached, since)
CROSS JOIN LATERAL (
    SELECT event.occurred_at
    FROM (
        SELECT event_id, partition, "offset" FROM outbox_publication
        WHERE event_id >= asked.since ORDER BY event_id LIMIT %s
    ) AS trace JOIN outbox_event AS event ON event.id = trace.event_id
    WHERE trace.partition = asked.partition AND trace."offset" >= asked.reached AND event.topic = asked.topic
    ORDER BY trace.event_id LIMIT 1
) AS oldest
"""


def oldest_left(positions: list[Position], *, using: str) -> dict[tuple[str, str, int], datetime]:
    """When the oldest event behind each of these positions happened, as far as the outbox knows it.

    Looked for from shortly before the time until when all has been processed: what lies between is little.
    Of a consumer for which that takes too long nothing is known; the others are told all the same.
    """
    asked: dict[str, list[Position]] = defaultdict(list)
    for one in positions:
        if one.clear_until is not None:
            asked[one.consumer].append(one)
    found: dict[tuple[str, str, int], datetime] = {}
    for consumer, places in asked.items():
        try:
            with transaction.atomic(using=using):
                found |= {(consumer, *place): at for place, at in _oldest_in(places, using=using).items()}
        except OperationalError as error:
            if family_of(error) is not Family.CONTENTION:
                raise
            logger.warning("consumer %s: cannot tell which event is the oldest left: %s", consumer, error)
    return found


def _oldest_in(places: list[Position], *, using: str) -> dict[Placement, datetime]:
    with connections[using].cursor() as sql:
        sql.execute(
            _OLDEST,
            [
                [one.topic for one in places],
                [one.partition for one in places],
                [one.reached for one in places],
                [lowest_id((one.clear_until or one.reported_at) - SLACK) for one in places],
                TRACES,
            ],
        )
        return {(topic, part): at for topic, part, at in sql.fetchall()}
