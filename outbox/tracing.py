"""Traces: one from a request to the last effect of its events. Nothing is made, or loaded, until told to.

OUTBOX["TRACING"] turns it on; outbox/spans.py makes the spans then, with the provider that the project sets.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import UUID

from outbox.config import config
from outbox.delivery import Delivery
from outbox.pages import Page


def created(event_id: UUID, event_type: str, topic: str) -> str | None:
    """The trace context of an event that is being published; None where nothing is traced."""
    if not config().tracing:
        return None
    from outbox import spans

    return spans.created(event_id, event_type, topic)


def sent(page: Page) -> None:
    """Kafka has taken a page."""
    if config().tracing:
        from outbox import spans

        spans.sent(page)


def processing(consumer: str, deliveries: list[Delivery[Any]]) -> AbstractContextManager[list[Delivery[Any]]]:
    """A handler's call, given these deliveries: what it does belongs to a span of each one's trace."""
    if not config().tracing:
        return nullcontext(deliveries)
    from outbox import spans

    return spans.processing(consumer, deliveries)


def current_traceparent() -> str | None:
    """That of the span under way."""
    if not config().tracing:
        return None
    from outbox import spans

    return spans.current_traceparent()


def flush() -> None:
    """Send what has been traced, before a process ends without further ado."""
    if config().tracing:
        from outbox import spans

        spans.flush()
