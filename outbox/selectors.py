"""Reads of events: what was published, where it went, and what each consumer made of it."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from outbox.models import Generation, GenerationState, InboxEntry, OutboxEvent, Outcome, Publication
from outbox.registry import subscribers

PENDING = "pending"
# Not the end of it: the event is still to come, or waits for an earlier one.
UNSETTLED = frozenset({PENDING, Outcome.PARKED.value})


@dataclass(frozen=True, slots=True)
class Reception:
    """What one consumer made of one event.

    status         pending, processed, unhandled, parked, dead or discarded
    delay_seconds  from the event's occurred_at to its effect; None unless processed, and where it was rebuilt
    received_at    when it had read the record; None before that, and where it was not written down
    moved_at       when it moved past the event, whatever became of it; None while pending
    rebuilt        whether it did so for a generation that was being built: when it first had, nobody knows
    """

    consumer: str
    status: str
    delay_seconds: float | None = None
    processed_at: datetime | None = None
    received_at: datetime | None = None
    moved_at: datetime | None = None
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """An event with all that became of it; several publications when it was sent more than once."""

    event: OutboxEvent
    publications: list[Publication]
    consumers: list[Reception]


def own_unless_staff(user: Any) -> str | None:
    """Whose events a user may see where the project does not say otherwise: its own, and staff see all."""
    return None if user.is_staff else str(user.pk)


def staff_may_operate(user: Any) -> bool:
    """Who may act on what could not be processed, where the project does not say otherwise: staff."""
    return bool(user.is_staff)


def events_seen_by(*, owner: str | None) -> QuerySet[OutboxEvent]:
    """The events of one owner, or of all for None; the latest first."""
    events = OutboxEvent.objects.order_by("-id")
    return events if owner is None else events.filter(owner=owner)


def traces(events: Iterable[OutboxEvent]) -> list[Trace]:
    """What became of these events, in their order. Two queries for all of them."""
    events = list(events)
    ids = [event.id for event in events]
    publications: dict[UUID, list[Publication]] = defaultdict(list)
    for publication in Publication.objects.filter(event_id__in=ids).order_by("published_at"):
        publications[publication.event_id].append(publication)
    entries = _entries(ids)
    return [
        Trace(
            event=event,
            publications=publications[event.id],
            consumers=[
                _reception(consumer.name, entries[event.id].get(consumer.name))
                for consumer in subscribers(event.topic)
            ],
        )
        for event in events
    ]


def settled(event_ids: Collection[UUID]) -> dict[UUID, set[str]]:
    """The consumers that are done with each of these events: by its effect, or for good without one."""
    return {
        event_id: {consumer for consumer, entry in entries.items() if entry.outcome not in UNSETTLED}
        for event_id, entries in _entries(event_ids).items()
    }


def _entries(event_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """What consumers made of these events, by event and consumer: an InboxEntry, and if it is `rebuilt`.

    Of a projection the live generation speaks; where it has not come to an event, the one it replaced. One
    that is being built does not yet.
    """
    built = Generation.objects.filter(
        consumer=OuterRef("consumer"),
        generation=OuterRef("generation"),
        state__in=[GenerationState.BUILDING, GenerationState.ABANDONED],
    )
    # What was processed before it began was handed over to it by the one that it replaced.
    rebuilt = Generation.objects.filter(
        consumer=OuterRef("consumer"),
        generation=OuterRef("generation"),
        started_at__lte=OuterRef("processed_at"),
        live_at__gt=OuterRef("processed_at"),
    )
    found = InboxEntry.objects.filter(~Exists(built), event_id__in=event_ids)
    rows = found.annotate(rebuilt=Exists(rebuilt)).order_by("generation")
    entries: dict[UUID, dict[str, Any]] = defaultdict(dict)
    for entry in rows:
        entries[entry.event_id][entry.consumer] = entry
    return entries


def _reception(consumer: str, entry: Any) -> Reception:
    if entry is None:
        return Reception(consumer=consumer, status=PENDING)
    done = entry.outcome == Outcome.PROCESSED
    delay = (entry.processed_at - entry.occurred_at).total_seconds()
    return Reception(
        consumer=consumer,
        status=entry.outcome,
        delay_seconds=round(delay, 3) if done and not entry.rebuilt else None,
        processed_at=entry.processed_at if done else None,
        received_at=entry.received_at,
        moved_at=entry.processed_at,
        rebuilt=entry.rebuilt,
    )


def get_trace(*, event_id: UUID, owner: str | None) -> Trace | None:
    """One event as its owner, or staff (None), sees it; None when there is nothing to see."""
    event = events_seen_by(owner=owner).filter(id=event_id).first()
    return None if event is None else traces([event])[0]


def shown_data(event: OutboxEvent) -> Any:
    """The event's data: parsed when it is JSON, else as text with unreadable bytes replaced."""
    text = bytes(event.payload).decode(errors="replace")
    if event.content_type == "application/json":
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            return text
    return text
