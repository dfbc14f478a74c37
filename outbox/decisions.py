"""What operators have decided about events, for a generation being built to follow."""

from dataclasses import replace

from django.db import connections

from outbox.inserting import array
from outbox.item import Item, read_item
from outbox.registry import Consumer

# The last act on an event that settled a dead letter of it; and what was skipped without one. What a consumer
# discards by its own declaration is listed, and judged anew.
_DECIDED = """
SELECT DISTINCT ON (event_id) event_id, act = 'discard', correction FROM outbox_act
WHERE event_id = ANY(%(events)s::uuid[]) AND consumer = %(consumer)s
    AND (act, result) IN (('replay', 'replayed'), ('discard', 'discarded'))
ORDER BY event_id, id DESC
"""
_SKIPPED = """
SELECT event_id FROM outbox_inbox AS known
WHERE event_id = ANY(%(events)s::uuid[]) AND consumer = %(consumer)s AND generation <> %(building)s
    AND outcome = 'discarded' AND NOT EXISTS (
        SELECT FROM outbox_discarded_event AS declared WHERE declared.consumer = %(consumer)s
            AND declared.generation = known.generation AND declared.event_id = known.event_id
    )
"""


def as_decided(items: list[Item], *, consumer: Consumer, building: int) -> list[Item]:
    """The items, those that were given up marked so, and those that were corrected with that data.

    Their records stay as they came. Whatever was neither is judged by its own data.
    """
    asked: dict[str, str | int] = {
        "events": array([item.inbox_id for item in items]),
        "consumer": consumer.name,
        "building": building,
    }
    with connections[consumer.using].cursor() as sql:
        sql.execute(_DECIDED, asked)
        decided = {event_id: (given_up, correction) for event_id, given_up, correction in sql.fetchall()}
        sql.execute(_SKIPPED, asked)
        decided = {event_id: (True, None) for (event_id,) in sql.fetchall()} | decided
    return [
        _decided(item, *decided[item.inbox_id], consumer=consumer) if item.inbox_id in decided else item
        for item in items
    ]


def _decided(item: Item, given_up: bool, correction: bytes | None, *, consumer: Consumer) -> Item:
    if given_up:
        return replace(item, given_up=True)
    if correction is None:
        return replace(item, may_be_late=True)
    corrected = replace(item.record, value=bytes(correction))
    read = read_item(corrected, consumer=consumer, now=item.received_at)
    return replace(read, record=item.record, inbox_id=item.inbox_id, may_be_late=True)
