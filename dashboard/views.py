"""The flow's page, and who is looking at a page."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.models import User
from dashboard.chaos.channel import in_demo
from dashboard.commands import may_act
from dashboard.following import follow
from dashboard.forms import PaymentForm
from dashboard.latest import latest_events
from dashboard.operators import may_act as may_operate
from dashboard.pipeline import pipeline
from dashboard.tour.place import COOKIE, COOKIE_SECONDS, Place, place_in
from dashboard.tour.steps import step_at
from dashboard.tour.words import WORDS
from outbox import clock
from outbox.registry import all_consumers
from payments.errors import PaymentNotFound
from payments.selectors import get_payment


def signed_in(request: HttpRequest) -> User:
    """The user behind @login_required."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user


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
        "pipeline": pipeline(None, staff=audience is None, acts=may_operate(user)),
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
    step = step_at(place, now=at) if place else None
    page |= {
        "place": place,
        "step": step,
        "step_acts": step.acts_of(user) if step else [],
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
