"""One event: all that is known about it, and where to find it."""

from contextlib import suppress
from uuid import UUID

import msgspec
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from dashboard.events.failures import failures_of, passed_over
from dashboard.events.search import correlated, indexes_alone
from dashboard.events.story import story_of
from dashboard.events.waits import in_kafka_at, waits_of
from dashboard.operators import for_those_who_look, may_act
from outbox import clock
from outbox.envelope import headers_of
from outbox.ids import time_of
from outbox.models import OutboxEvent, Outcome, ParkedKey, Refusal
from outbox.selectors import Trace, get_trace
from outbox.shown import MOST_TEXT, headers_text, payload_text
from payments.errors import PaymentNotFound
from payments.models import Payment
from payments.selectors import get_payment


@for_those_who_look
@require_GET
def event(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """All that is known about one event."""
    trace = get_trace(event_id=event_id, owner=None)
    if trace is None:
        raise Http404("There is no such event.")
    told = trace.event
    failures = failures_of(event_id)
    page = {
        "trace": trace,
        "event": told,
        "written_at": time_of(told.id),
        "in_kafka_at": in_kafka_at(trace),
        "waits": waits_of(trace, now=clock.now(), letters=[one.letter for one in failures]),
        "headers": headers_text(headers_of(told)),
        "payload": payload_text(told.payload, told.content_type),
        "raw": payload_text(told.payload, ""),
        "bytes": len(bytes(told.payload)),
        "story": story_of(told),
        "payment": _payment_of(told),
        "acts": may_act(request.user),
        "failures": failures,
        "passed_over": passed_over(trace),
        "parked": _parked(trace),
        "refusal": Refusal.objects.filter(event_id=event_id).first(),
    }
    return render(request, "dashboard/events/event.html", page)


@for_those_who_look
@require_GET
def find(request: HttpRequest) -> HttpResponse:
    """Go to the event of an id, or to the latest of a key or a correlation id."""
    wanted = request.GET.get("q", "").strip()
    found = _found(wanted)
    if found is not None:
        return redirect("event", event_id=found)
    return render(request, "dashboard/nothing.html", {"wanted": wanted}, status=404)


def _found(wanted: str) -> UUID | None:
    events = OutboxEvent.objects.order_by("-id").only("id")
    with indexes_alone(), suppress(ValueError):
        as_id = UUID(wanted)
        ids = [as_id] if events.filter(id=as_id).exists() else correlated(as_id)
        if one := events.filter(id__in=ids).first():
            return one.id
    if not wanted or "\x00" in wanted:
        return None
    with indexes_alone():
        # By time within the key's own index, not backwards through every event.
        last = events.filter(key=wanted).order_by("topic", "number").last()
    return None if last is None else last.id


def _parked(trace: Trace) -> list[ParkedKey]:
    """The keys of consumers in which the event waits, with what it waits behind."""
    names = [one.consumer for one in trace.consumers if one.status == Outcome.PARKED]
    at = Q(topic=trace.event.topic, key=trace.event.key, consumer__in=names)
    return list(ParkedKey.objects.filter(at).order_by("consumer", "-generation")) if names else []


def _payment_of(event: OutboxEvent) -> Payment | None:
    """The payment that the event is about, if it says so."""
    if len(bytes(event.payload)) > MOST_TEXT:
        return None
    with suppress(msgspec.DecodeError, ValueError, RecursionError, PaymentNotFound):
        about = msgspec.json.decode(bytes(event.payload), type=_About)
        return get_payment(payment_id=about.payment_id, merchant_id=None)
    return None


class _About(msgspec.Struct):
    payment_id: UUID
