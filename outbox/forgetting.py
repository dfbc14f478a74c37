"""Events older than what the inbox still knows: dead-lettered, never guessed.

What counts are weeks in which the consumer's generation had rows when they were dropped: a new consumer, or a
new generation, has forgotten nothing of old events.
"""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from outbox.envelope import record_id
from outbox.errors import ForgottenEvent
from outbox.ids import lowest_id, time_of
from outbox.inbox import Inbox
from outbox.item import Item

# No week is dropped before its end is so long ago: what is younger costs no question.
LEAST_WINDOW = timedelta(days=7)


def mark_forgotten(items: list[Item], *, inbox: Inbox) -> list[Item]:
    """The items, those that cannot be told from known ones any more being faults.

    Such a record is known by its place in Kafka instead: delivered again, it has one dead letter.
    """
    old = _old(items)
    spans = inbox.forgotten() if old else []
    if not spans:
        return items

    def forgotten(event_id: UUID) -> bool:
        return event_id in old and any(since <= time_of(event_id) < until for since, until in spans)

    marked = [_marked(item) if forgotten(item.inbox_id) else item for item in items]
    known = inbox.known([item.inbox_id for item in marked])
    return [item for item in marked if item.inbox_id not in known]


def _old(items: list[Item]) -> set[UUID]:
    """Those that may have been forgotten."""
    if not items:
        return set()
    bound = lowest_id(items[0].received_at - LEAST_WINDOW)  # they were read together
    return {item.inbox_id for item in items if item.envelope is not None and item.inbox_id < bound}


def _marked(item: Item) -> Item:
    fault = ForgottenEvent(
        f"{item.inbox_id} is of {time_of(item.inbox_id):%Y-%m-%d}, and the inbox of that week was dropped."
    )
    return replace(item, inbox_id=record_id(item.record), fault=fault)
