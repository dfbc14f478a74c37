"""Writes of orders. Each owns one transaction, in which the change and its event are one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from contracts.fields import Line
from contracts.money import Money, minor_to_text
from contracts.orders import Change, OrderCancelled, OrderCreated, OrderEvent, OrderModified
from orders.errors import LinesDoNotAddUp, OrderExists, OrderNotFound
from orders.models import Cause, Order, OrderLine, Status
from outbox import Delivery, clock, following, publish
from outbox.ids import new_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """What was sold for one validated payment.

    follows  the delivery whose consequence its order is; None for that of what is under way here
    """

    payment_id: UUID
    merchant_id: UUID
    customer_id: str
    money: Money
    lines: Sequence[Line]
    follows: Delivery[Any] | None = None


def instantiate_orders(*, sold: Sequence[Sold], at: datetime) -> list[Order]:
    """Make the orders of validated payments, all or none of them, and publish an OrderCreated for each.

    Raises OrderExists where a payment has its order already, LinesDoNotAddUp where there are lines and their
    sum is not the money.
    """
    orders = [_new_order(one, at=at) for one in sold]
    try:
        with transaction.atomic():
            Order.objects.bulk_create(orders)
            OrderLine.objects.bulk_create(
                line for order, one in zip(orders, sold, strict=True) for line in order.new_lines(one.lines)
            )
            for order, one in zip(orders, sold, strict=True):
                with following(one.follows):
                    _publish(OrderCreated(**_facts(order, one.lines)), order, at=at)
    except IntegrityError as error:
        if "orders_one_per_payment" in str(error):
            detail = str(error).partition("DETAIL:")[2].strip()
            raise OrderExists(f"The payment has its order already: {detail}") from error
        raise
    return orders


def _new_order(sold: Sold, *, at: datetime) -> Order:
    order = Order(
        id=new_id(at),
        payment_id=sold.payment_id,
        merchant_id=sold.merchant_id,
        customer_id=sold.customer_id,
        total_minor=sold.money.amount_minor,
        currency=sold.money.currency,
        created_at=at,
    )
    if sold.lines:
        _check_sum(order, sold.lines)
    order.hold_lines(sold.lines)
    return order


def modify_order(
    *,
    order_id: UUID,
    merchant_id: UUID | None,
    at: datetime | None = None,
    lines: Sequence[Line] | None = None,
    shipping_address: str | None = None,
) -> tuple[Order, UUID | None]:
    """Change what is given of an order: the order, and the id of the OrderModified that names what changed.

    Lines replace all lines of before, and cost the same together. `shipping_address` is 1 to 500 characters,
    of the control characters line feeds alone; it stays in the row. When nothing is different from what was
    there, nothing is done and the id is None. `merchant_id` is for whom it is done; None acts for any
    merchant. `at` is when; None is the moment at which nobody else changes the order any more.
    Raises OrderNotFound, TransitionForbidden, LinesDoNotAddUp.
    """
    with transaction.atomic():
        order = _locked(order_id, merchant_id)
        order.expect_open(wanted=Status.MODIFIED)
        if lines is not None:
            _check_sum(order, lines)
        before = order.as_lines()
        after = before if lines is None else tuple(lines)
        changed: list[Change] = []
        if after != before:
            changed.append("lines")
        if shipping_address not in (None, order.shipping_address):
            changed.append("shipping_address")
        if not changed:
            return order, None
        at = _moment(order, at)
        order.modify(shipping_address=shipping_address, at=at)
        if after != before:
            order.replace_lines(after)
        event = OrderModified(**_facts(order, after), changed=tuple(changed))
        return order, _publish(event, order, at=at)


def cancel_order(
    *, order_id: UUID, merchant_id: UUID | None, reason: str, at: datetime | None = None
) -> tuple[Order, UUID]:
    """Deliver nothing of an order: the order, and the id of the OrderCancelled, which the refund follows.

    `reason` is 1 to 500 characters, none of them a control character; it stays in the row. `merchant_id` and
    `at` as for `modify_order`. Raises OrderNotFound, TransitionForbidden.
    """
    with transaction.atomic():
        order = _locked(order_id, merchant_id)
        at = _moment(order, at)
        order.cancel(cause=Cause.COMMAND, reason=reason, at=at)
        event_id = _publish(OrderCancelled(**_facts(order, order.as_lines()), cause="command"), order, at=at)
    return order, event_id


def cancel_refunded_order(*, payment_id: UUID, merchant_id: UUID, at: datetime | None = None) -> UUID | None:
    """Deliver nothing of what was paid back: the id of the OrderCancelled, caused by the refund.

    None when the order is cancelled already, by a command at the same moment say, or when there is none: a
    payment's events come in order, so its PaymentValidated was discarded, or lies before this consumer's
    beginning. Nothing is done then, and the log says so. `at` as for `modify_order`.
    """
    with transaction.atomic():
        try:
            order = Order.objects.seen_by(merchant_id).select_for_update().get(payment_id=payment_id)
        except Order.DoesNotExist:
            logger.warning("payment %s was refunded: it has no order here, nothing to cancel", payment_id)
            return None
        if order.status == Status.CANCELLED:
            logger.info("payment %s was refunded: its order %s is cancelled already", payment_id, order.id)
            return None
        at = _moment(order, at)
        order.cancel(cause=Cause.PAYMENT_REFUNDED, at=at)
        return _publish(
            OrderCancelled(**_facts(order, order.as_lines()), cause="payment_refunded"), order, at=at
        )


def _locked(order_id: UUID, merchant_id: UUID | None) -> Order:
    """The order as it is now; nobody else changes it or its lines before this transaction ends."""
    try:
        order = Order.objects.seen_by(merchant_id).select_for_update().get(id=order_id)
    except Order.DoesNotExist:
        raise OrderNotFound() from None
    # Not in the statement that waits for the lock: it would see the lines of before it began to wait.
    order.hold_lines(order.as_lines())
    return order


def _moment(order: Order, at: datetime | None) -> datetime:
    """When a change of the locked order happens: `at` or now, but never before what happened to it already.

    Read before the lock, the time would be that of asking: others may have changed the order since. And the
    clocks of two processes agree only to a round trip.
    """
    return max(at or clock.now(), order.changed_at)


def _check_sum(order: Order, lines: Sequence[Line]) -> None:
    total = sum(line.quantity * line.unit_price_minor for line in lines)
    if total != order.total_minor:
        raise LinesDoNotAddUp(
            f"The lines add up to {minor_to_text(total, order.currency)} {order.currency}, but the total of"
            f" the order is {minor_to_text(order.total_minor, order.currency)} {order.currency}."
        )


def _publish(event: OrderEvent, order: Order, *, at: datetime) -> UUID:
    return publish(event, at=at, owner=str(order.merchant_id))


def _facts(order: Order, lines: Sequence[Line]) -> dict[str, Any]:
    """What every event of an order says. Address and reason stay out: they are a person's data."""
    return {
        "order_id": order.id,
        "payment_id": order.payment_id,
        "merchant_id": order.merchant_id,
        "customer_id": order.customer_id,
        "total_minor": order.total_minor,
        "currency": order.currency,
        "lines": tuple(lines),
    }
