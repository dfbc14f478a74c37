"""A payment's way through the system, step by step, as it happens."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.http import Http404, HttpRequest

from contracts.payments import PaymentRequested, PaymentValidated
from dashboard.receptions import state_of, word_of
from loyalty.errors import AccountNotFound
from loyalty.selectors import balance_of, get_account
from orders.selectors import orders_seen_by
from outbox.ids import time_of
from outbox.registry import subscribers
from outbox.selectors import PENDING, Reception, Trace, events_seen_by, traces
from payments.errors import PaymentNotFound
from payments.models import Payment
from payments.selectors import get_payment


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens to the payment; `at` once it has.

    event_id  the event that says so
    made_id   what was made by it
    """

    what: str
    state: str
    detail: str = ""
    at: datetime | None = None
    event_id: UUID | None = None
    made_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Following:
    """The payment with its steps; `over` when nothing is left to wait for."""

    payment: Payment
    steps: list[Step]
    over: bool

    @property
    def pause(self) -> str:
        """How long a page waits before it asks again: soon at first, seldom when something is away."""
        started = self.steps[0].at
        fresh = started is not None and datetime.now(UTC) - started < timedelta(seconds=30)
        return "250ms" if fresh else "2s"

    @property
    def took(self) -> timedelta | None:
        """From the validation to the last effect."""
        times = [step.at for step in self.steps if step.at]
        start = self.payment.validated_at
        return max(times) - start if self.over and start and times else None


def followed_by(request: HttpRequest, *, merchant_id: UUID | None) -> Following | None:
    """The payment that the address names with `payment`, if it names one. Raises Http404."""
    payment_id = request.GET.get("payment", "")
    if not payment_id:
        return None
    try:
        return follow(get_payment(payment_id=UUID(payment_id), merchant_id=merchant_id))
    except (ValueError, PaymentNotFound):
        raise Http404("There is no such payment, or it is another merchant's.") from None


def follow(payment: Payment) -> Following:
    """How far the payment has come. A handful of reads by key."""
    owner, key = str(payment.merchant_id), str(payment.id)
    events = events_seen_by(owner=owner).filter(topic="payments", key=key).defer("payload")
    told = {trace.event.type: trace for trace in traces(events)}
    steps = [
        _event_step(
            "Payment requested", told.get(PaymentRequested.type), "row and event written in one transaction"
        ),
        _event_step(
            "Payment validated", told.get(PaymentValidated.type), "row changed and event written in one more"
        ),
    ]
    validated = told.get(PaymentValidated.type)
    if validated is None:
        return Following(payment, steps, over=False)
    steps.append(_sent_step(validated))
    receptions = {reception.consumer: reception for reception in validated.consumers}
    effects = [
        _reception_step(payment, receptions[consumer.name])
        for consumer in subscribers("payments")
        if PaymentValidated.type in consumer.routes
    ]
    steps += sorted(effects, key=lambda step: (step.at is None, step.at))
    waiting = any(reception.status == PENDING for reception in validated.consumers)
    return Following(payment, steps, over=bool(validated.publications) and not waiting)


def _event_step(what: str, trace: Trace | None, detail: str) -> Step:
    if trace is None:
        return Step(what, "wait")
    return Step(what, "ok", detail, time_of(trace.event.id), trace.event.id)


def _sent_step(trace: Trace) -> Step:
    if not trace.publications:
        return Step("Sent to Kafka", "wait", "waits in the outbox for the relay")
    place = trace.publications[0]
    where = f"topic {trace.event.topic}, partition {place.partition}, offset {place.offset:,}"
    return Step("Sent to Kafka", "ok", where, place.published_at)


def _reception_step(payment: Payment, reception: Reception) -> Step:
    what, effect = _EFFECTS.get(reception.consumer, (f"{reception.consumer} has processed it", None))
    state, at = state_of(reception.status), None if reception.rebuilt else reception.processed_at
    if state != "ok" or effect is None:
        return Step(what, state, f"{reception.consumer}: {word_of(reception.status)}", at)
    detail, made_id = effect(payment)
    return Step(what, state, f"{reception.consumer}: {detail}", at, made_id=made_id)


def _order(payment: Payment) -> tuple[str, UUID | None]:
    order = orders_seen_by(merchant_id=payment.merchant_id).filter(payment_id=payment.id).first()
    return "order", order.id if order else None


def _points(payment: Payment) -> tuple[str, UUID | None]:
    try:
        account = get_account(merchant_id=payment.merchant_id, customer_id=payment.customer_id)
    except AccountNotFound:
        return "no account", None
    points = sum(account.entries.filter(payment_id=payment.id).values_list("points", flat=True))
    return f"{points:,} points, {balance_of(account=account):,} in all", None


_EFFECTS: dict[str, tuple[str, Callable[[Payment], tuple[str, UUID | None]] | None]] = {
    "orders": ("Order created", _order),
    "loyalty": ("Points earned", _points),
    "analytics": ("Counted in the volumes", None),
}
