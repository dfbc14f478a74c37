"""What a handler is given: an event with everything known about how it came. Free of Django."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from outbox.events import Event

E = TypeVar("E", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Delivery(Generic[E]):
    """One event as it reached this consumer.

    event        the data, checked against its contract
    id           the CloudEvents id; the same however often it is delivered
    number       place within its key, from 1 without gaps; None for foreign events that carry none
    occurred_at  when the fact happened, not when it was delivered
    generation   which building of the consumer's effect this is for; 1 until a projection is rebuilt
    """

    event: E
    id: UUID
    type: str
    source: str
    topic: str
    partition: int
    offset: int
    key: str | None
    number: int | None
    occurred_at: datetime
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None = None
    generation: int = 1
