"""Reads of orders."""

from uuid import UUID

from orders.errors import OrderNotFound
from orders.models import Order, OrderQuerySet


def orders_seen_by(*, merchant_id: UUID | None) -> OrderQuerySet:
    """The orders of one merchant, or of all for None, with their lines; the latest first."""
    return Order.objects.seen_by(merchant_id).with_lines()


def get_order(*, order_id: UUID, merchant_id: UUID | None) -> Order:
    """One order as this merchant, or staff (None), sees it. Raises OrderNotFound."""
    try:
        return Order.objects.seen_by(merchant_id).with_lines().get(id=order_id)
    except Order.DoesNotExist:
        raise OrderNotFound() from None
