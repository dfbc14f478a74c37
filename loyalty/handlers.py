"""What the loyalty service does about events."""

from datetime import timedelta

from django.conf import settings

from contracts.money import Money
from contracts.payments import PaymentRefunded, PaymentValidated
from loyalty import services
from outbox import Consumer, Delivery, clock, handles, handles_batch

consumer = Consumer(name="loyalty", sync_delay_limit=timedelta(seconds=5))


@handles_batch(consumer, PaymentValidated)
def earn_points(deliveries: list[Delivery[PaymentValidated]]) -> None:
    """A validated payment earns its customer points by the rule of the settings."""
    services.earn_points(
        paid=[
            services.Paid(
                payment_id=one.event.payment_id,
                merchant_id=one.event.merchant_id,
                customer_id=one.event.customer_id,
                money=Money(one.event.amount_minor, one.event.currency),
                follows=one,
            )
            for one in deliveries
        ],
        points_per_unit=settings.LOYALTY_POINTS_PER_UNIT,
        at=clock.now(using=consumer.using),
    )


@handles(consumer, PaymentRefunded)
def reverse_points(delivery: Delivery[PaymentRefunded]) -> None:
    """A refunded payment's customer loses what it had earned, whatever the rule is by now."""
    event = delivery.event
    services.reverse_points(
        payment_id=event.payment_id, merchant_id=event.merchant_id, at=clock.now(using=consumer.using)
    )
