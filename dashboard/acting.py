"""The commands of the payment page: each goes through its service, and the page shows what came of it."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect

from accounts.commands import write_down
from accounts.models import User
from dashboard.commands import may_act
from dashboard.forms import ReasonForm
from dashboard.order_form import OrderForm, version_of
from dashboard.payment_page import render_payment
from dashboard.posting import only_posted
from dashboard.views import signed_in
from orders import errors as order_errors
from orders.models import Order
from orders.selectors import orders_seen_by
from orders.services import cancel_order, modify_order
from outbox.repair.acts import Via
from payments import errors as payment_errors
from payments.models import Payment
from payments.selectors import get_payment
from payments.services import refund_payment, reject_payment, validate_payment


class NoOrderYet(Exception):
    """The payment has no order yet."""


class ChangedMeanwhile(Exception):
    """The order has been changed since this form was made: nothing of it was taken."""


REFUSALS = (
    payment_errors.TransitionForbidden,
    order_errors.TransitionForbidden,
    NoOrderYet,
    ChangedMeanwhile,
)
# The form, and the event that tells of what was done; None when nothing was.
Done = tuple[forms.Form, UUID | None]


@login_required
@only_posted("payment", "payment_id")
def act(request: HttpRequest, payment_id: UUID, command: str) -> HttpResponse:
    """Carry a command out.

    What is wrong with its form is said in it (422). What the state does not allow any more is said above the
    page as it is now (409): so a command that is sent twice is carried out once.
    """
    user = signed_in(request)
    if not may_act(user):
        raise PermissionDenied("Only a merchant or an operator may do this.")
    if command not in _COMMANDS:
        raise Http404("There is no such command.")
    try:
        payment = get_payment(payment_id=payment_id, merchant_id=user.acts_for_merchant)
        with transaction.atomic():
            form, event_id = _COMMANDS[command](payment, user, request.POST)
            if form.is_valid():
                write_down(
                    user,
                    command,
                    merchant_id=payment.merchant_id,
                    event_id=event_id,
                    via=Via.DASHBOARD,
                    why=form.cleaned_data.get("reason", ""),
                )
    except payment_errors.PaymentNotFound as error:
        raise Http404(str(error)) from error
    except REFUSALS as error:
        said = str(error) or str(type(error).__doc__)
        return render_payment(request, payment_id, notice=said, status=409)
    if form.errors:
        return render_payment(request, payment_id, forms={command: form}, status=422)
    if "HX-Request" not in request.headers:
        return redirect("payment", payment_id=payment_id)
    return render_payment(request, payment_id)


def _validate(payment: Payment, user: User, data: QueryDict) -> Done:
    _, event_id = validate_payment(payment_id=payment.id, merchant_id=user.acts_for_merchant)
    return forms.Form(data), event_id


def _reject(payment: Payment, user: User, data: QueryDict) -> Done:
    return _with_reason(
        data, partial(reject_payment, payment_id=payment.id, merchant_id=user.acts_for_merchant)
    )


def _refund(payment: Payment, user: User, data: QueryDict) -> Done:
    return _with_reason(
        data, partial(refund_payment, payment_id=payment.id, merchant_id=user.acts_for_merchant)
    )


def _modify(payment: Payment, user: User, data: QueryDict) -> Done:
    order = _order_of(payment, lock=True)
    form = OrderForm(data, order=order)
    if not form.is_valid():
        return form, None
    try:
        _, event_id = modify_order(order_id=order.id, merchant_id=user.acts_for_merchant, **form.cleaned_data)
    except order_errors.LinesDoNotAddUp as error:
        form.add_error(None, str(error))
        return form, None
    # The form sends the whole order: it would undo what it does not know of. The same change a second time
    # undoes nothing.
    if event_id is not None and form.as_of != version_of(order):
        raise ChangedMeanwhile
    return form, event_id


def _cancel(payment: Payment, user: User, data: QueryDict) -> Done:
    order = _order_of(payment)
    return _with_reason(data, partial(cancel_order, order_id=order.id, merchant_id=user.acts_for_merchant))


def _with_reason(data: QueryDict, carry_out: Callable[..., tuple[object, UUID | None]]) -> Done:
    form = ReasonForm(data)
    if not form.is_valid():
        return form, None
    _, event_id = carry_out(reason=form.cleaned_data["reason"])
    return form, event_id


def _order_of(payment: Payment, *, lock: bool = False) -> Order:
    orders = orders_seen_by(merchant_id=payment.merchant_id).filter(payment_id=payment.id)
    order = (orders.select_for_update() if lock else orders).first()
    if order is None:
        raise NoOrderYet
    return order


_COMMANDS: dict[str, Callable[[Payment, User, QueryDict], Done]] = {
    "validate": _validate,
    "reject": _reject,
    "refund": _refund,
    "modify": _modify,
    "cancel": _cancel,
}
