"""One payment's page: how it stands, what happened to it, and what may be asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django import forms as django_forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.models import User
from contracts.fields import Line
from contracts.money import minor_to_text
from dashboard.commands import Command, may_act, may_act_on, offered, token_of
from dashboard.forms import ReasonForm
from dashboard.held_up import held_up, why_no_order
from dashboard.lanes import draw
from dashboard.order_form import OrderForm
from dashboard.views import signed_in
from orders.models import Order
from outbox import clock
from outbox.registry import all_consumers
from payments.errors import PaymentNotFound
from payments.models import Status
from timeline.selectors import Timeline, get_timeline

# A page on which nothing is under way asks so seldom, while somebody looks at it.
SELDOM = "12s"


@dataclass(frozen=True, slots=True)
class Offer:
    """A command with its form; `open` when the form came back with something wrong."""

    command: Command
    form: django_forms.Form | None
    open: bool = False


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line of what is sold, with its price and sum as text."""

    sku: str
    quantity: int
    unit_price: str
    sum: str


@login_required
@require_GET
def payment(request: HttpRequest, payment_id: UUID) -> HttpResponse:
    """The whole page. Another merchant's payment is not found."""
    return render_payment(request, payment_id)


@login_required
@require_GET
def payment_now(request: HttpRequest, payment_id: UUID) -> HttpResponse:
    """What has changed since: asked again and again until nothing follows by itself any more.

    The commands are sent along only when others are on offer than the page says it shows (`offered`): a form
    that someone is filling in stays as it is.
    """
    page = _page(signed_in(request), payment_id)
    page["commands_too"] = request.GET.get("offered") != page["token"]
    return render(request, "dashboard/parts/payment_now.html", page)


def render_payment(
    request: HttpRequest,
    payment_id: UUID,
    *,
    forms: Mapping[str, django_forms.Form] | None = None,
    notice: str = "",
    status: int = 200,
) -> HttpResponse:
    """The page as it is now; htmx gets what is inside it. Raises Http404."""
    page = _page(signed_in(request), payment_id, forms=forms or {})
    page["notice"] = notice
    template = "parts/payment.html" if "HX-Request" in request.headers else "payment.html"
    return render(request, f"dashboard/{template}", page, status=status)


def _page(
    user: User, payment_id: UUID, *, forms: Mapping[str, django_forms.Form] | None = None
) -> dict[str, Any]:
    try:
        timeline = get_timeline(payment_id=payment_id, merchant_id=user.sees_merchant)
    except PaymentNotFound as error:
        raise Http404(str(error)) from error
    payment, order = timeline.payment, timeline.order
    sees_all = user.sees_merchant is None
    acts = may_act_on(user, payment)
    return {
        "timeline": timeline,
        "payment": payment,
        "order": order,
        "merchant": User.objects.filter(id=payment.merchant_id).first() if sees_all else None,
        "lines": _lines(msgspec.convert(payment.lines, list[Line]), payment.currency),
        "order_lines": _lines(order.as_lines(), order.currency) if order else [],
        "held_up": held_up(timeline),
        "no_order": "" if order else why_no_order(timeline),
        "drawing": draw(timeline),
        "consumers": all_consumers(),
        "pause": _pause(timeline),
        # Until then others, and the clock, may change what the page shows.
        "final": payment.status in (Status.REJECTED, Status.REFUNDED),
        "seldom": SELDOM,
        "looks": sees_all,
        "acts": acts,
        "may_act": may_act(user),
        "offers": [_offer(command, order, forms or {}) for command in offered(timeline)] if acts else [],
        "token": token_of(timeline),
    }


def _offer(command: Command, order: Order | None, forms: Mapping[str, django_forms.Form]) -> Offer:
    if command.name in forms:
        return Offer(command, forms[command.name], open=True)
    if command.name == "modify" and order is not None:
        return Offer(command, OrderForm(order=order))
    return Offer(command, ReasonForm() if command.asks_reason else None)


def _lines(lines: list[Line] | tuple[Line, ...], currency: str) -> list[ShownLine]:
    return [
        ShownLine(
            line.sku,
            line.quantity,
            minor_to_text(line.unit_price_minor, currency),
            minor_to_text(line.quantity * line.unit_price_minor, currency),
        )
        for line in lines
    ]


def _pause(timeline: Timeline) -> str:
    """How long the page waits before it asks again: soon at first, seldom when something is away."""
    latest = max((entry.at for entry in timeline.entries), default=timeline.payment.created_at)
    return "300ms" if (clock.now() - latest).total_seconds() < 20 else "3s"
