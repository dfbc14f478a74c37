"""What a published event inherits: the story it belongs to and the event or request that caused it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Cause:
    """correlation_id joins all that followed from one beginning; causation_id names the parent event."""

    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    traceparent: str | None = None


_NOTHING = Cause()
_cause: ContextVar[Cause] = ContextVar("outbox_cause", default=_NOTHING)


def current_cause() -> Cause:
    """What events published here and now follow from."""
    return _cause.get()


@contextmanager
def caused_by(
    *, correlation_id: UUID | None = None, causation_id: UUID | None = None, traceparent: str | None = None
) -> Iterator[None]:
    """Events published inside inherit these."""
    token = _cause.set(Cause(correlation_id, causation_id, traceparent))
    try:
        yield
    finally:
        _cause.reset(token)
