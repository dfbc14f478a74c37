"""One event: all that is known about it, and where to find it."""

from contextlib import suppress
from uuid import UUID

import msgspec
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from dashboard.events.live import Rights, standing_of
from dashboard.events.search import correlated, indexes_alone
from dashboard.operators import for_those_who_look
from outbox.envelope import headers_of
from outbox.models import OutboxEvent
from outbox.selectors import get_trace
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
    page = {
        **standing_of(trace),
        "rights": Rights.of(request.user),
        "headers": headers_text(headers_of(told)),
        "payload": payload_text(told.payload, told.content_type),
        "raw": payload_text(told.payload, ""),
        "bytes": len(bytes(told.payload)),
        "payment": _payment_of(told),
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
