"""The flow's page, and who is looking at a page."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.models import User
from dashboard.chaos.channel import in_demo
from dashboard.commands import may_act
from dashboard.following import followed_by
from dashboard.forms import PaymentForm
from dashboard.latest import latest_events
from dashboard.operators import may_act as may_operate
from dashboard.operators import may_look
from dashboard.pipeline import pipeline
from dashboard.tour.place import COOKIE, COOKIE_SECONDS, Place, place_in
from dashboard.tour.steps import step_at
from dashboard.tour.words import WORDS
from outbox import clock
from outbox.registry import all_consumers


def signed_in(request: HttpRequest) -> User:
    """The user behind @login_required."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user


@login_required
@require_GET
def flow(request: HttpRequest) -> HttpResponse:
    """The pipeline, the latest events, and a payment to send through it. Merchants have their payments."""
    user = signed_in(request)
    if not may_look(user):
        return redirect("payments")
    at = clock.now()
    place = place_in(request.GET, now=at)
    first = Place(1, at)
    step = step_at(place, now=at) if place else None
    page = {
        "pipeline": pipeline(None, acts=may_operate(user)),
        "events": latest_events(),
        "consumers": all_consumers(),
        "looks": True,
        "may_pay": may_act(user),
        "form": PaymentForm(user=user),
        "following": followed_by(request, merchant_id=None),
        "place": place,
        "step": step,
        "step_acts": step.acts_of(user) if step else [],
        "first_step": first,
        "tour_steps": [(first.at(number, now=at), said.title) for number, said in enumerate(WORDS, start=1)],
        "offer_tour": in_demo() and COOKIE not in request.COOKIES and "tour" not in request.GET,
        "may_act": may_operate(user),
    }
    response = render(request, "dashboard/flow.html", page)
    if request.GET.get("tour"):
        response.set_cookie(COOKIE, "seen", max_age=COOKIE_SECONDS, samesite="Lax", httponly=True)
    return response
