"""What the order service does about events."""

from datetime import timedelta

from contracts.money import Money
from contracts.payments import PaymentRefunded, PaymentValidated
from orders import services
from outbox import Consumer, Delivery, clock, handles, handles_batch

consumer = Consumer(name="orders", sync_delay_limit=timedelta(seconds=5))


@handles_batch(consumer, PaymentValidated)
def instantiate_orders(deliveries: list[Delivery[PaymentValidated]]) -> None:
    """A validated payment becomes an order, made now: however late the event comes, OrderCreated is true."""
    services.instantiate_orders(
        sold=[
            services.Sold(
                payment_id=one.event.payment_id,
                merchant_id=one.event.merchant_id,
                customer_id=one.event.customer_id,
                money=Money(one.event.amount_minor, one.event.currency),
                lines=one.event.lines,
                follows=one,
            )
            for one in deliveries
        ],
        at=clock.now(using=consumer.using),
    )


@handles(consumer, PaymentRefunded)
def cancel_refunded_order(delivery: Delivery[PaymentRefunded]) -> None:
    """What was paid back is not delivered, unless not delivering it is what paid it back."""
    event = delivery.event
    if event.cause == "order_cancelled":
        return
    services.cancel_refunded_order(payment_id=event.payment_id, merchant_id=event.merchant_id)
