"""Making a payment from the page, and watching what follows from it."""

from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods
from uuid_utils.compat import uuid7

from accounts.commands import write_down
from accounts.models import User
from contracts.fields import Line
from contracts.money import Money
from dashboard.commands import may_act
from dashboard.following import follow
from dashboard.forms import PaymentForm
from dashboard.operators import may_look
from dashboard.payment_list import payment_list
from dashboard.tour.place import place_in
from dashboard.views import signed_in
from outbox import clock
from outbox.context import caused_by, current_cause
from outbox.repair.acts import Via
from payments.errors import PaymentNotFound
from payments.models import Payment
from payments.selectors import get_payment
from payments.services import request_payment, validate_payment
from rest.models import KeptAnswer


@require_http_methods(["GET", "POST"])
def payments(request: HttpRequest) -> HttpResponseBase:
    """The list of payments; a POST adds one."""
    return pay(request) if request.method == "POST" else payment_list(request)


@login_required
def pay(request: HttpRequest) -> HttpResponse:
    """Request a payment, and validate it at once unless told not to: two commands of one story."""
    user = signed_in(request)
    if not may_act(user):
        raise PermissionDenied("Only a merchant or an operator may make payments.")
    form = PaymentForm(request.POST, user=user)
    if not form.is_valid():
        return _refused(request, form)
    validate = request.POST.get("validate") != "later"
    payment = _pay(form, validate=validate)
    if not validate:
        return _elsewhere(request, reverse("payment", args=[payment.id]))
    place = place_in(request.POST, now=clock.now())
    place = place and place.with_payment(payment.id)
    looks = may_look(user)
    home = reverse("flow" if looks else "payments")
    address = place.address if place else f"{home}?payment={payment.id}"
    if "HX-Request" not in request.headers:
        return redirect(address)
    page = {"form": form, "may_pay": True, "following": follow(payment), "place": place, "looks": looks}
    response = render(request, "dashboard/parts/pay.html", page)
    response["HX-Push-Url"] = address
    return response


def _refused(request: HttpRequest, form: PaymentForm) -> HttpResponse:
    page = {"form": form, "may_pay": True, "place": place_in(request.POST, now=clock.now())}
    template = "parts/pay.html" if "HX-Request" in request.headers else "pay_alone.html"
    return render(request, f"dashboard/{template}", page, status=422)


def _elsewhere(request: HttpRequest, address: str) -> HttpResponse:
    """Another page, for htmx as for any browser."""
    if "HX-Request" not in request.headers:
        return redirect(address)
    response = HttpResponse(status=204)
    response["HX-Redirect"] = address
    return response


def _pay(form: PaymentForm, *, validate: bool) -> Payment:
    """The payment that the form asks for: the same one, however often the same form is sent."""
    if not form.cleaned_data["key"]:
        return _make(form, validate=validate)
    with transaction.atomic():
        # A twin waits here until the first one has ended, and then finds what became of it.
        kept, first = KeptAnswer.objects.get_or_create(
            user_id=form.user.id,
            key=f"form-{form.fingerprint}",
            defaults={"asked": form.fingerprint.encode(), "answer_status": HTTPStatus.SEE_OTHER},
        )
        if not first:
            return get_payment(payment_id=UUID(kept.answer_body), merchant_id=form.merchant_id)
        payment = _make(form, validate=validate)
        kept.answer_body = str(payment.id)
        kept.save(update_fields=["answer_body"])
    return payment


def _make(form: PaymentForm, *, validate: bool) -> Payment:
    return make_payment(
        user=form.user,
        merchant_id=form.merchant_id,
        customer_id=form.cleaned_data["customer_id"],
        money=form.money,
        lines=form.cleaned_data["lines"],
        validate=validate,
    )


def make_payment(
    *,
    user: User,
    merchant_id: UUID,
    customer_id: str,
    money: Money,
    validate: bool,
    lines: Sequence[Line] = (),
) -> Payment:
    """Request a payment and, if told to, validate it at once: two commands in one transaction."""
    cause = current_cause()
    story = cause.correlation_id or uuid7()
    with caused_by(correlation_id=story, traceparent=cause.traceparent), transaction.atomic():
        payment, event_id = request_payment(
            merchant_id=merchant_id,
            customer_id=customer_id,
            money=money,
            lines=lines,
            at=clock.now(),
        )
        write_down(user, "request", merchant_id=merchant_id, event_id=event_id, via=Via.DASHBOARD)
        if validate:
            payment, event_id = validate_payment(
                payment_id=payment.id, merchant_id=merchant_id, at=clock.now()
            )
            write_down(user, "validate", merchant_id=merchant_id, event_id=event_id, via=Via.DASHBOARD)
    return payment


@login_required
@require_GET
def following(request: HttpRequest, payment_id: UUID) -> HttpResponse:
    """The payment's steps as they stand now; asked again and again until nothing is left to wait for."""
    user = signed_in(request)
    try:
        payment = get_payment(payment_id=payment_id, merchant_id=user.sees_merchant)
    except PaymentNotFound as error:
        raise Http404(str(error)) from error
    page = {"following": follow(payment), "looks": may_look(user)}
    return render(request, "dashboard/parts/following.html", page)
