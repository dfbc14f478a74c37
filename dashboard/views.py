"""The pages: the flow, one event, and where to find one."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.models import User
from dashboard.chaos.channel import in_demo
from dashboard.commands import may_act
from dashboard.following import follow
from dashboard.forms import PaymentForm
from dashboard.latest import latest_events
from dashboard.operators import may_act as may_operate
from dashboard.pipeline import pipeline
from dashboard.story import story_of
from dashboard.tour.place import COOKIE, COOKIE_SECONDS, Place, place_in
from dashboard.tour.steps import step_at
from dashboard.tour.words import WORDS
from outbox import clock
from outbox.envelope import headers_of
from outbox.ids import time_of
from outbox.models import DeadLetter, LetterState
from outbox.registry import all_consumers
from outbox.selectors import events_seen_by, get_trace
from outbox.shown import headers_text, payload_text
from payments.errors import PaymentNotFound
from payments.selectors import get_payment


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
        "may_pay": may_act(user),
        "form": PaymentForm(user=user),
        "following": following,
    }
    at = clock.now()
    place = place_in(request.GET, now=at) if audience is None else None
    first = Place(1, at)
    page |= {
        "place": place,
        "step": step_at(place, now=at) if place else None,
        "first_step": first,
        "tour_steps": [(first.at(number, now=at), said.title) for number, said in enumerate(WORDS, start=1)],
        "offer_tour": audience is None
        and in_demo()
        and COOKIE not in request.COOKIES
        and "tour" not in request.GET,
        "may_act": may_operate(user),
    }
    response = render(request, "dashboard/flow.html", page)
    if request.GET.get("tour"):
        response.set_cookie(COOKIE, "seen", max_age=COOKIE_SECONDS, samesite="Lax", httponly=True)
    return response


@login_required
@require_GET
def event(request: HttpRequest, event_id: UUID) -> HttpResponse:
    """All that is known about one event. Another merchant's is not found."""
    user = signed_in(request)
    trace = get_trace(event_id=event_id, owner=owner_of(user))
    if trace is None:
        raise Http404("There is no such event, or it is another merchant's.")
    told = trace.event
    letters = DeadLetter.objects.filter(event_id=event_id, state=LetterState.OPEN)
    page = {
        "trace": trace,
        "event": told,
        "written_at": time_of(told.id),
        "headers": headers_text(headers_of(told)),
        "payload": payload_text(told.payload, told.content_type),
        "story": story_of(told, owner=owner_of(user)),
        "dead_letters": letters if user.is_staff else [],
        "staff": user.is_staff,
    }
    return render(request, "dashboard/event.html", page)


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
