"""What an event followed from, and what followed from it: events with one correlation id, as a tree."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

from django.db.models import QuerySet

from dashboard.events.search import FEW, correlated, indexes_alone
from outbox.ids import time_of
from outbox.models import OutboxEvent
from outbox.selectors import Trace, traces

# Of a longer story those are told that the event followed from and that followed from it, and then the first.
LONGEST_STORY = 100
# So many causes are followed back; a chain that is longer, or runs in a circle, is cut there.
LONGEST_LINE = 30
# Where a correlation is too large to be read, what followed is looked for among so many events written next.
LOOK_AT = 2_000

Events = Mapping[UUID, OutboxEvent]


@dataclass(frozen=True, slots=True)
class Chapter:
    """An event of the story; `after` is the time since the story began.

    opens   whether it is the first of those that followed from the one above it
    leads   whether others followed from it: they come next
    closes  of how many lists it is the end
    """

    trace: Trace
    after: timedelta
    opens: bool
    leads: bool
    closes: range


@dataclass(frozen=True, slots=True)
class Story:
    """The events in the order of reading, each below the one that it followed from.

    more     whether there are others that are left out
    unknown  what the first of the event's causes followed from, where that is not shown
    """

    chapters: list[Chapter]
    more: bool
    unknown: UUID | None


def story_of(event: OutboxEvent) -> Story:
    """The story. The event itself is always part of it, and so are its causes."""
    seen = OutboxEvent.objects.order_by("-id").defer("payload")
    with indexes_alone():
        line = _line(event, seen)
        ids = correlated(event.correlation_id, limit=FEW + 1)
        whole = len(ids) <= FEW
        if not whole:
            after = OutboxEvent.objects.filter(id__gt=event.id).order_by("id")
            ids = list(after.values_list("id", flat=True)[:LOOK_AT])
        related = seen.filter(id__in=ids)
        told = {one.id: one for one in related if one.correlation_id == event.correlation_id}
    told |= {one.id: one for one in line}
    kept = _nearest(told, event, line)
    first = line[0].causation_id
    return Story(
        chapters=_chapters(kept),
        more=not whole or len(kept) < len(told),
        unknown=None if first in kept else first,
    )


def _line(event: OutboxEvent, seen: QuerySet[OutboxEvent]) -> list[OutboxEvent]:
    """The event's causes, the first of them first, and the event."""
    line, met = [event], {event.id}
    while len(line) < LONGEST_LINE and line[0].causation_id and line[0].causation_id not in met:
        cause = seen.filter(id=line[0].causation_id).first()
        if cause is None:
            break
        line.insert(0, cause)
        met.add(cause.id)
    return line


def _nearest(told: Events, event: OutboxEvent, line: list[OutboxEvent]) -> Events:
    """Up to LONGEST_STORY of these: the event's causes, what followed from it, and then the first."""
    if len(told) <= LONGEST_STORY:
        return told
    below = [one.id for one, _ in _in_reading_order(told, begin=[event.id])]
    order = dict.fromkeys([*(one.id for one in line), *below, *sorted(told)])
    return {event_id: told[event_id] for event_id in list(order)[:LONGEST_STORY]}


def _in_reading_order(events: Events, *, begin: list[UUID]) -> Iterator[tuple[OutboxEvent, int]]:
    """Each event once with its depth, those that followed from it after it. Causes in a circle end there."""
    followed: dict[UUID | None, list[UUID]] = defaultdict(list)
    for one in sorted(events.values(), key=lambda one: one.id, reverse=True):
        followed[one.causation_id].append(one.id)
    met: set[UUID] = set()
    stack = [(event_id, 0) for event_id in reversed(begin)]
    while stack:
        event_id, depth = stack.pop()
        if event_id not in met:
            met.add(event_id)
            yield events[event_id], depth
            stack += [(below, depth + 1) for below in followed[event_id] if below not in met]


def _chapters(events: Events) -> list[Chapter]:
    # Whatever has no cause here begins a tree; what runs in a circle begins one at its earliest event.
    begin = sorted(events, key=lambda event_id: (events[event_id].causation_id in events, event_id))
    ordered = list(_in_reading_order(events, begin=begin))
    start = min(time_of(event_id) for event_id in events)
    told = {trace.event.id: trace for trace in traces(events.values())}
    depths = [depth for _, depth in ordered]
    return [
        Chapter(
            trace=told[event.id],
            after=time_of(event.id) - start,
            opens=depth > above,
            leads=below > depth,
            closes=range(max(depth - below, 0)),
        )
        for (event, _), (above, depth), below in zip(
            ordered, pairwise([0, *depths]), [*depths[1:], 0], strict=True
        )
    ]
