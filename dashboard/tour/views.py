"""The tour's step, asked again and again while it is open, and the two acts that are its own."""

from http import HTTPStatus

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from accounts.selectors import merchants
from contracts.money import Money
from dashboard.chaos.poison import AMOUNT_MINOR, CURRENCY, repair
from dashboard.chaos.views import only_in_demo, onward
from dashboard.operators import for_those_who_act, for_those_who_look, operator_of
from dashboard.paying import make_payment
from dashboard.posting import only_posted
from dashboard.tour.place import place_in
from dashboard.tour.progress import letter_of
from dashboard.tour.steps import step_at
from dashboard.views import signed_in
from outbox import clock

CUSTOMER = "tour"


@require_GET
@for_those_who_look
def now(request: HttpRequest) -> HttpResponse:
    """What has been seen of a step by now; 204 when that is what the page knows."""
    at = clock.now()
    place = place_in(request.GET, now=at)
    if place is None:
        raise Http404("There is no such step.")
    step = step_at(place, now=at)
    if request.GET.get("told") == step.mark:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return render(request, "dashboard/tour/now.html", {"step": step, "step_acts": step.acts_of(request.user)})


@only_in_demo
@for_those_who_act()
@only_posted("flow")
def pay(request: HttpRequest) -> HttpResponse:
    """Make and validate a payment of the first merchant's, and follow it on the flow."""
    merchant = merchants().first()
    if merchant is None:
        raise Http404("There is no merchant for whom a payment could be made.")
    payment = make_payment(
        user=signed_in(request),
        merchant_id=merchant.id,
        customer_id=CUSTOMER,
        money=Money(AMOUNT_MINOR, CURRENCY),
        validate=True,
    )
    place = place_in(request.POST, now=clock.now())
    return redirect(place.with_payment(payment.id).address if place else onward(request))


@only_in_demo
@for_those_who_act("replay_deadletter")
@only_posted("flow")
def repair_one(request: HttpRequest) -> HttpResponse:
    """Replay the poisoned event of this step with corrected data, and what waits behind it."""
    place = place_in(request.POST, now=clock.now())
    letter = letter_of(place) if place else None
    if place is None or letter is None:
        raise Http404("Nothing has been poisoned in this step.")
    repair(letter, operator=operator_of(request, reason="The last step of the guided tour."))
    return redirect(place.address)
