"""Spans: made where tracing is on, in the right traces; nothing is loaded where it is off."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from pytest_django import Settings

from outbox import (
    Consumer,
    Delivery,
    NonRecoverable,
    atomic,
    following,
    handles,
    handles_batch,
    publish,
    registry,
)
from outbox.config import config
from outbox.context import caused_by
from outbox.kafka import Record
from outbox.models import OutboxEvent, Publication
from outbox.processor import Processor
from outbox.relay import Relay
from tests.engine import Noted, Running, new_topic, noted_on, record_of, until
from tests.servers import PROJECT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

exporter = InMemorySpanExporter()


def traceparent(trace_id: str) -> str:
    return f"00-{trace_id}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module", autouse=True)
def _provider() -> None:
    """Set once for the process, as OpenTelemetry wants; without OUTBOX["TRACING"] nobody asks it."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@pytest.fixture
def traced(settings: Settings, engine: None) -> Iterator[None]:
    settings.OUTBOX = {**settings.OUTBOX, "TRACING": True}
    config.cache_clear()
    exporter.clear()
    yield
    config.cache_clear()


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    before = dict(registry._consumers)
    yield Consumer(name=f"reader-{uuid4().hex[:8]}", sync_delay_limit=timedelta(seconds=5))
    registry._consumers.clear()
    registry._consumers.update(before)


def spans(name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def in_trace(span: ReadableSpan) -> str:
    return format(span.context.trace_id, "032x")


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return format(span.parent.span_id, "016x")


def record(event: Noted, trace_id: str, *, offset: int) -> Record:
    headers: dict[str, bytes | None] = {"ce_traceparent": traceparent(trace_id).encode()}
    return record_of(event, offset=offset, headers=headers)


@pytest.mark.usefixtures("traced")
def test_the_relay_sends_below_the_publication_and_leaves_the_record_s_context_alone() -> None:
    event = noted_on(new_topic())
    trace_id = uuid4().hex
    with caused_by(traceparent=traceparent(trace_id)), transaction.atomic():
        publish(event(about="a"))
    [created] = spans(f"create {event.type}")
    assert (in_trace(created), parent_of(created)) == (trace_id, "00f067aa0ba902b7")
    stored = OutboxEvent.objects.get().traceparent
    assert stored == f"00-{trace_id}-{created.context.span_id:016x}-01"
    with Running(lambda stop: Relay(stop=stop)):
        until(lambda: Publication.objects.exists())
        [sent] = until(lambda: spans(f"send {event.type}"))
    assert (in_trace(sent), parent_of(sent)) == (trace_id, f"{created.context.span_id:016x}")
    assert sent.attributes is not None
    assert sent.attributes["messaging.kafka.offset"] == 0


@pytest.mark.usefixtures("traced")
def test_each_event_of_a_list_is_handled_in_its_own_trace(consumer: Consumer) -> None:
    topic = new_topic()
    event = noted_on(topic)
    follow_up = noted_on(topic)
    follow_up.type = "tests.FollowUp.v1"

    @handles_batch(consumer, event)
    def handle(deliveries: list[Delivery[Noted]]) -> None:
        for delivery in deliveries:
            with following(delivery):
                publish(follow_up(about=delivery.event.about))

    traces = {f"k{number}": uuid4().hex for number in range(3)}
    records = [
        record(event(about=about), trace_id, offset=offset)
        for offset, (about, trace_id) in enumerate(traces.items())
    ]
    Processor(consumer).run(records)
    processed = {in_trace(span): f"{span.context.span_id:016x}" for span in spans(f"process {event.type}")}
    assert processed.keys() == set(traces.values())
    created = spans("create tests.FollowUp.v1")
    assert {in_trace(span): parent_of(span) for span in created} == processed


@pytest.mark.usefixtures("traced")
def test_a_handler_that_fails_leaves_a_span_that_says_so(consumer: Consumer) -> None:
    event = noted_on(new_topic())

    @handles(consumer, event)
    def handle(delivery: Delivery[Noted]) -> None:
        raise NonRecoverable("no such thing")

    trace_id = uuid4().hex
    with pytest.raises(NonRecoverable):
        Processor(consumer).run([record(event(about="a"), trace_id, offset=0)])
    [failed] = spans(f"process {event.type}")
    assert (in_trace(failed), failed.status.status_code) == (trace_id, StatusCode.ERROR)
    assert [happened.name for happened in failed.events] == ["exception"]


def test_without_tracing_no_span_is_made_and_the_caller_s_context_goes_on() -> None:
    exporter.clear()
    event, trace_id = noted_on(new_topic()), uuid4().hex
    with caused_by(traceparent=traceparent(trace_id)), atomic():
        publish(event(about="a"))
    assert OutboxEvent.objects.get().traceparent == traceparent(trace_id)
    assert exporter.get_finished_spans() == ()


def test_without_tracing_nothing_of_opentelemetry_is_loaded() -> None:
    """Nor of Prometheus's client, in a process that tells no metrics, and no thread runs."""
    script = (
        "import django, sys, threading; django.setup()\n"
        "import outbox.consumer, outbox.relay, outbox.publishing, eventsite.celery\n"
        "loaded = [name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus'))]\n"
        "assert not loaded, loaded\n"
        "assert threading.active_count() == 1\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PROJECT, env=_plain(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _plain() -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**plain, "DJANGO_SETTINGS_MODULE": "eventsite.settings"}
