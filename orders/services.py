"""Writes of orders. Each owns one transaction, in which the change and its event are one."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from contracts.fields import Line
from contracts.money import Money
from contracts.orders import OrderCreated
from orders.errors import OrderExists
from orders.models import Order, OrderLine
from outbox import publish
from outbox.ids import new_id


def instantiate_order(
    *,
    payment_id: UUID,
    merchant_id: UUID,
    customer_id: str,
    money: Money,
    lines: Sequence[Line],
    at: datetime,
) -> Order:
    """Make the order of a validated payment and publish OrderCreated. Raises OrderExists at a second one."""
    order = Order(
        id=new_id(at),
        payment_id=payment_id,
        merchant_id=merchant_id,
        customer_id=customer_id,
        total_minor=money.amount_minor,
        currency=money.currency,
        created_at=at,
    )
    try:
        with transaction.atomic():
            order.save(force_insert=True)
            OrderLine.objects.bulk_create(
                OrderLine(
                    order=order,
                    position=position,
                    sku=line.sku,
                    quantity=line.quantity,
                    unit_price_minor=line.unit_price_minor,
                )
                for position, line in enumerate(lines, start=1)
            )
            publish(
                OrderCreated(
                    order_id=order.id,
                    payment_id=payment_id,
                    merchant_id=merchant_id,
                    customer_id=customer_id,
                    total_minor=money.amount_minor,
                    currency=money.currency,
                    lines=tuple(lines),
                ),
                at=at,
                owner=str(merchant_id),
            )
    except IntegrityError as error:
        if "orders_one_per_payment" in str(error):
            raise OrderExists(f"Payment {payment_id} has its order already.") from error
        raise
    return order
