"""What a published event inherits: the story it belongs to and the event or request that caused it."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from outbox.delivery import Delivery

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: str) -> bool:
    """Whether this is a W3C trace context that may be passed on."""
    return _TRACEPARENT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Cause:
    """correlation_id joins all that followed from one beginning; causation_id names the parent event.

    key  the parent event's, for the log
    """

    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    traceparent: str | None = None
    key: str | None = None


_NOTHING = Cause()
_cause: ContextVar[Cause] = ContextVar("outbox_cause", default=_NOTHING)
_consumer: ContextVar[str | None] = ContextVar("outbox_consumer", default=None)
_building: ContextVar[bool] = ContextVar("outbox_building", default=False)


def current_cause() -> Cause:
    """What events published here and now follow from."""
    return _cause.get()


@contextmanager
def within(cause: Cause) -> Iterator[None]:
    """Events published inside follow from this, and entries of the log are about it."""
    token = _cause.set(cause)
    try:
        yield
    finally:
        _cause.reset(token)


def caused_by(
    *, correlation_id: UUID | None = None, causation_id: UUID | None = None, traceparent: str | None = None
) -> AbstractContextManager[None]:
    """Events published inside inherit these."""
    return within(Cause(correlation_id, causation_id, traceparent))


def following(delivery: Delivery[Any] | None) -> AbstractContextManager[None]:
    """Events published inside name this one as their cause, and continue its story. None changes nothing."""
    if delivery is None:
        return nullcontext()
    return within(Cause(delivery.correlation_id, delivery.id, delivery.traceparent, delivery.key))


def current_consumer() -> str | None:
    """The consumer that is at work here and now."""
    return _consumer.get()


@contextmanager
def consuming(consumer: str) -> Iterator[None]:
    """Entries of the log inside name this consumer."""
    token = _consumer.set(consumer)
    try:
        yield
    finally:
        _consumer.reset(token)


def is_building() -> bool:
    """Whether a projection is being rebuilt here, from events whose consequences were published long ago."""
    return _building.get()


@contextmanager
def building() -> Iterator[None]:
    """publish() raises inside."""
    token = _building.set(True)
    try:
        yield
    finally:
        _building.reset(token)
