"""What may be asked of a payment and its order as they stand, by whom, and what would come of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from accounts.models import User
from contracts.money import minor_to_text
from dashboard.formats import short_id
from orders.models import Order
from orders.models import Status as OrderStatus
from outbox import clock
from payments.models import Payment
from payments.models import Status as PaymentStatus
from timeline.selectors import Timeline


@dataclass(frozen=True, slots=True)
class Command:
    """One command on offer. `consequence` says in numbers what it does; `danger` that it takes back."""

    name: str
    title: str
    consequence: str
    danger: bool = False
    asks_reason: bool = False


def may_act(user: User) -> bool:
    """Whether this user may ask for anything at all."""
    return user.is_merchant or user.may_operate


def may_act_on(user: User, payment: Payment) -> bool:
    """Whether this user may ask for something of this payment."""
    return may_act(user) and user.acts_for_merchant in (None, payment.merchant_id)


def offered(timeline: Timeline) -> Iterator[Command]:
    """The commands that the state allows, the expected first."""
    payment, order = timeline.payment, timeline.order
    if payment.status == PaymentStatus.PENDING:
        if clock.now() < payment.expires_at:
            yield Command(
                "validate",
                "Validate",
                f"Takes {payment.money} from customer {payment.customer_id}; order and points follow.",
            )
        yield Command(
            "reject",
            "Reject",
            f"Ends the payment of {payment.money}: nothing is taken, nothing follows. It cannot be validated"
            " afterwards.",
            asks_reason=True,
        )
    if order is not None and order.status != OrderStatus.CANCELLED:
        yield Command(
            "modify",
            "Change the order",
            f"The lines must come to {minor_to_text(order.total_minor, order.currency)} {order.currency},"
            " as before.",
        )
    if payment.status == PaymentStatus.VALIDATED:
        refunds = f"refunds {payment.money} to customer {payment.customer_id}"
        points = f"takes back {timeline.points:,} points" if timeline.points is not None else ""
        open_order = order if order is not None and order.status != OrderStatus.CANCELLED else None
        cancels = f"cancels order {_named(open_order)}" if open_order else ""
        yield Command("refund", "Refund", _sentence(refunds, cancels, points), danger=True, asks_reason=True)
        if open_order:
            yield Command(
                "cancel",
                "Cancel the order",
                _sentence(cancels, refunds, points),
                danger=True,
                asks_reason=True,
            )


def token_of(timeline: Timeline) -> str:
    """The same as long as the same is on offer with the same consequences."""
    payment, order = timeline.payment, timeline.order
    expired = payment.status == PaymentStatus.PENDING and clock.now() >= payment.expires_at
    parts = [payment.status, "expired" if expired else "", str(timeline.points)]
    if order is not None:
        parts += [order.status, str(order.modified_at and order.modified_at.timestamp())]
    return "-".join(parts)


def _named(order: Order) -> str:
    lines = order.as_lines()
    return (
        f"{short_id(order.id)} of {len(lines)} {'line' if len(lines) == 1 else 'lines'}"
        if lines
        else short_id(order.id)
    )


def _sentence(*parts: str) -> str:
    said = [part for part in parts if part]
    text = ", ".join(said[:-1]) + " and " + said[-1] if len(said) > 1 else said[0]
    return f"{text[0].upper()}{text[1:]}."
