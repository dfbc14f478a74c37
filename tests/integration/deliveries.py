"""Events as a consumer hands them to a handler."""

from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from outbox import Delivery, Event

E = TypeVar("E", bound=Event)


def delivered(event: E) -> Delivery[E]:
    """The event, as the first of its key, at a made-up place."""
    return Delivery(
        event=event,
        id=uuid4(),
        type=event.type,
        source="/eventsite/test",
        topic=event.topic.name,
        partition=0,
        offset=0,
        key=event.key(),
        number=1,
        occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        correlation_id=uuid4(),
        causation_id=None,
    )
