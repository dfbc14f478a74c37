"""Celery tasks: timed, traced, and part of the story of whoever sent them.

A message carries `outbox_correlation_id` and `traceparent` in its headers; what its task publishes follows
from them. A task to which no story led, as beat's, begins a trace of its own.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from celery import Task
from celery.exceptions import Retry
from celery.signals import before_task_publish
from django.conf import settings

from eventsite.observing import AGAIN, DONE, FAILED, timed
from outbox.context import caused_by, current_cause, is_traceparent
from outbox.tracing import current_traceparent

CORRELATION = "outbox_correlation_id"
TRACEPARENT = "traceparent"


# No class of Celery can be subscripted when it runs.
class ObservedTask(Task):  # type: ignore[type-arg]
    """Every task of this project: see `celery.Celery(task_cls=…)`."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, in the context that its message told."""
        traceparent = str(self.request.get(TRACEPARENT) or "")
        traceparent = traceparent if is_traceparent(traceparent) else ""
        began, result = time.perf_counter(), FAILED
        try:
            with (
                _span(self.name, traceparent) as own,
                caused_by(correlation_id=_uuid(self.request.get(CORRELATION)), traceparent=own),
            ):
                returned = self.run(*args, **kwargs)
            result = DONE
        except Retry:
            result = AGAIN
            raise
        finally:
            timed(self.name, via="task", result=result, began=began)
        return returned


@contextmanager
def _span(name: str, traceparent: str) -> Iterator[str | None]:
    """The task's span, where it is traced; how it is told to others, else what was told to it."""
    if not settings.OUTBOX["TRACING"]:
        yield traceparent or None
        return
    from opentelemetry.trace import SpanKind

    from outbox.spans import context_of, traceparent_of, tracer

    with tracer().start_as_current_span(
        f"run {name}", context_of(traceparent or None), kind=SpanKind.CONSUMER
    ) as span:
        yield traceparent_of(span)


@before_task_publish.connect
def tell_the_story(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Have a message say what its task follows from."""
    if headers is None:
        return
    cause = current_cause()
    if cause.correlation_id is not None:
        headers.setdefault(CORRELATION, str(cause.correlation_id))
    if traceparent := current_traceparent() or cause.traceparent:
        headers.setdefault(TRACEPARENT, traceparent)


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None
