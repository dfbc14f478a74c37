"""What the payment service does about events."""

from datetime import timedelta

from contracts.orders import OrderCancelled
from outbox import Consumer, Delivery, handles
from payments import services

consumer = Consumer(name="payments", sync_delay_limit=timedelta(seconds=5))


@handles(consumer, OrderCancelled)
def refund_cancelled_order(delivery: Delivery[OrderCancelled]) -> None:
    """What was paid for a cancelled order goes back, unless going back is what cancelled it."""
    event = delivery.event
    if event.cause == "payment_refunded":
        return
    services.refund_cancelled_order(payment_id=event.payment_id, merchant_id=event.merchant_id)
