"""What an event caused and was caused by: all that shares its correlation id, as a tree."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from outbox.ids import time_of
from outbox.models import OutboxEvent
from outbox.selectors import Trace, events_seen_by, traces

# A correlation that was given to thousands of events by a client is shown by its beginning.
LONGEST_STORY = 100


@dataclass(frozen=True, slots=True)
class Chapter:
    """An event of the story and what followed from it; `after` is the time since the story began."""

    trace: Trace
    after: timedelta
    followed: list["Chapter"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Story:
    """The events that have no parent here, each with all below it."""

    begun: list[Chapter]
    more: bool


def story_of(event: OutboxEvent, *, owner: str | None) -> Story:
    """The story as this owner may read it. The event itself is always part of it."""
    events = events_seen_by(owner=owner).defer("payload").filter(correlation_id=event.correlation_id)
    told = list(events.order_by("id")[: LONGEST_STORY + 1])
    more, told = len(told) > LONGEST_STORY, told[:LONGEST_STORY]
    if event.id not in {each.id for each in told}:
        told.append(event)
    start = time_of(told[0].id)
    chapters: dict[UUID, Chapter] = {
        trace.event.id: Chapter(trace, time_of(trace.event.id) - start) for trace in traces(told)
    }
    begun: list[Chapter] = []
    for chapter in chapters.values():
        parent = chapters.get(chapter.trace.event.causation_id or UUID(int=0))
        (begun if parent is None or parent is chapter else parent.followed).append(chapter)
    return Story(begun, more)
