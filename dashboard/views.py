"""The pages: the flow, one event, and where to find one."""

from contextlib import suppress
from uuid import UUID

import msgspec
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.models import User
from dashboard.following import follow
from dashboard.forms import PaymentForm
from dashboard.latest import latest_events
from dashboard.pipeline import pipeline
from dashboard.story import story_of
from outbox.envelope import cloudevent_headers
from outbox.ids import time_of
from outbox.models import DeadLetter, OutboxEvent
from outbox.registry import all_consumers
from outbox.selectors import events_seen_by, get_trace
from payments.errors import PaymentNotFound
from payments.selectors import get_payment

# A payload is shown by its beginning when it is longer: browsers stall on megabytes of text.
MOST_TEXT = 100_000


def signed_in(request: HttpRequest) -> User:
    """The user behind @login_required."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user


def owner_of(user: User) -> str | None:
    """Whose events this user may see, as the outbox writes owners; None for everyone's."""
    merchant = user.sees_merchant
    return None if merchant is None else str(merchant)


@login_required
@require_GET
def flow(request: HttpRequest) -> HttpResponse:
    """The pipeline, the latest events, and a payment to send through it."""
    user = signed_in(request)
    audience = user.sees_merchant
    payment_id, following = request.GET.get("payment", ""), None
    if payment_id:
        try:
            following = follow(get_payment(payment_id=UUID(payment_id), merchant_id=audience))
        except (ValueError, PaymentNotFound):
            raise Http404("There is no such payment, or it is another merchant's.") from None
    page = {
        "pipeline": pipeline(None, staff=audience is None),
        "events": latest_events([audience])[audience],
        "consumers": all_consumers(),
        "staff": audience is None,
        "may_pay": user.is_staff or user.is_merchant,
        "form": PaymentForm(user=user),
        "following": following,
    }
    return render(request, "dashboard/flow.html", page)


@login_required
@require_GET
def event(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """All that is known about one event. Another merchant's is not found."""
    user = signed_in(request)
    trace = get_trace(event_id=event_id, owner=owner_of(user))
    if trace is None:
        raise Http404("There is no such event, or it is another merchant's.")
    told, text = trace.event, shown_payload(trace.event)
    page = {
        "trace": trace,
        "event": told,
        "written_at": time_of(told.id),
        "headers": [(name, (value or b"").decode()) for name, value in headers_of(told)],
        "payload": text[:MOST_TEXT],
        "cut": len(text) - MOST_TEXT if len(text) > MOST_TEXT else 0,
        "story": story_of(told, owner=owner_of(user)),
        "dead_letters": DeadLetter.objects.filter(event_id=event_id) if user.is_staff else [],
        "staff": user.is_staff,
    }
    return render(request, "dashboard/event.html", page)


def shown_payload(told: OutboxEvent) -> str:
    """The data as text: JSON with its values and their order as they are, anything else as UTF-8."""
    data = bytes(told.payload)
    if told.content_type == "application/json":
        with suppress(msgspec.DecodeError):
            data = msgspec.json.format(data, indent=2)
    return data.decode(errors="replace")


def headers_of(told: OutboxEvent) -> list[tuple[str, bytes | None]]:
    """The headers that the relay sends with this event."""
    return cloudevent_headers(
        id=told.id,
        source=told.source,
        type=told.type,
        occurred_at=told.occurred_at,
        key=told.key,
        number=told.number,
        correlation_id=told.correlation_id,
        causation_id=told.causation_id,
        traceparent=told.traceparent,
        content_type=told.content_type,
    )


@login_required
@require_GET
def find(request: HttpRequest) -> HttpResponse:
    """Go to the event of an id, or to the latest of a key or a correlation id."""
    wanted = request.GET.get("q", "").strip()
    events = events_seen_by(owner=owner_of(signed_in(request))).only("id")
    found = None
    try:
        as_id = UUID(wanted)
        found = events.filter(id=as_id).first() or events.filter(correlation_id=as_id).first()
    except ValueError:
        pass
    if found is None and wanted and "\x00" not in wanted:
        # By time within the key's own index, not backwards through every event.
        found = events.filter(key=wanted).order_by("topic", "number").last()
    if found is not None:
        return redirect("event", event_id=found.id)
    return render(request, "dashboard/nothing.html", {"wanted": wanted}, status=404)
