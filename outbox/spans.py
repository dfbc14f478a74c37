"""The spans of an event: `create` where it is published, `send` by the relay, `process` by each consumer.

The outbox row, and so the record's `ce_traceparent`, carries the context of `create`: the other two are its
children, whoever makes them and however often. They follow OpenTelemetry's conventions for messaging.
https://opentelemetry.io/docs/specs/semconv/messaging/kafka/
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from outbox.context import current_cause
from outbox.delivery import Delivery
from outbox.pages import Page

FLUSH_MS = 2_000

_propagator = TraceContextTextMapPropagator()


def tracer() -> trace.Tracer:
    """The engine's, of the provider that is set now."""
    return trace.get_tracer("outbox")


def traceparent_of(span: Span) -> str | None:
    """How the span is told to others; None for one that is not recorded anywhere."""
    told: dict[str, str] = {}
    _propagator.inject(told, trace.set_span_in_context(span, Context()))
    return told.get("traceparent")


def context_of(traceparent: str | None) -> Context:
    """The context of whoever told it; an empty one, in which a new trace begins, when nobody did."""
    told = {} if traceparent is None else {"traceparent": traceparent}
    return _propagator.extract(told, Context())


def current_traceparent() -> str | None:
    """That of the span under way."""
    return traceparent_of(trace.get_current_span())


def created(event_id: UUID, event_type: str, topic: str) -> str | None:
    """Make the span of a publication, below the span under way, or below what the event follows from."""
    parent = None if trace.get_current_span().get_span_context().is_valid else current_cause().traceparent
    span = tracer().start_span(
        f"create {event_type}",
        None if parent is None else context_of(parent),
        kind=SpanKind.PRODUCER,
        attributes=_about("create", topic, event_type, str(event_id)),
    )
    span.end()
    return traceparent_of(span)


def sent(page: Page) -> None:
    """Make a span for each record that Kafka took, from when its page was made until now."""
    now = time.time_ns()
    for record, (topic, partition), offset in zip(page.records, page.places, page.offsets, strict=True):
        if offset is None:
            continue
        traceparent = None if record.traceparent is None else record.traceparent.decode()
        event_type = record.type.decode()
        span = tracer().start_span(
            f"send {event_type}",
            context_of(traceparent),
            kind=SpanKind.PRODUCER,
            attributes=_about("send", topic, event_type, record.id.decode())
            | {"messaging.destination.partition.id": str(partition), "messaging.kafka.offset": offset},
            start_time=page.made_at,
        )
        span.end(now)


@contextmanager
def processing(consumer: str, deliveries: list[Delivery[Any]]) -> Iterator[list[Delivery[Any]]]:
    """A span for each of these, all around one call. They are given on with that span in `traceparent`.

    A single one is the span under way in the block. Where another was, an operator's request, it is linked.
    """
    around = trace.get_current_span().get_span_context()
    links = [Link(around)] if around.is_valid else []
    spans = [_begun(consumer, delivery, links) for delivery in deliveries]
    traced = [
        replace(delivery, traceparent=traceparent_of(span) or delivery.traceparent)
        for delivery, span in zip(deliveries, spans, strict=True)
    ]
    alone = spans[0] if len(spans) == 1 else trace.INVALID_SPAN
    try:
        with trace.use_span(alone, record_exception=False, set_status_on_exception=False):
            yield traced
    except BaseException as error:
        for span in spans:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        for span in spans:
            span.end()


def _begun(consumer: str, delivery: Delivery[Any], links: list[Link]) -> Span:
    return tracer().start_span(
        f"process {delivery.type}",
        context_of(delivery.traceparent),
        kind=SpanKind.CONSUMER,
        links=links,
        attributes=_about("process", delivery.topic, delivery.type, str(delivery.id))
        | {
            "messaging.consumer.group.name": consumer,
            "messaging.destination.partition.id": str(delivery.partition),
            "messaging.kafka.offset": delivery.offset,
        },
    )


def _about(operation: str, topic: str, event_type: str, event_id: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.message.id": event_id,
        "cloudevents.event_type": event_type,
    }


def flush() -> None:
    """Have the provider send what it holds, if it can."""
    force = getattr(trace.get_tracer_provider(), "force_flush", None)
    if force is not None:
        force(FLUSH_MS)
