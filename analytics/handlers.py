"""What analytics does about events: it counts them where they happened."""

from datetime import timedelta

from analytics import services
from analytics.models import CONSUMER
from analytics.projection import SlotsOverTime
from analytics.services import Occurrence
from contracts.payments import (
    PaymentEvent,
    PaymentRefunded,
    PaymentRejected,
    PaymentRequested,
    PaymentValidated,
)
from outbox import Consumer, Delivery, handles_batch

consumer = Consumer(name=CONSUMER, sync_delay_limit=timedelta(seconds=5), projection=SlotsOverTime())

STATUS_OF = {
    PaymentRequested.type: "pending",
    PaymentValidated.type: "validated",
    PaymentRejected.type: "rejected",
    PaymentRefunded.type: "refunded",
}


@handles_batch(consumer, PaymentRequested, PaymentValidated, PaymentRejected, PaymentRefunded)
def count_payments(deliveries: list[Delivery[PaymentEvent]]) -> None:
    """Every event of a payment adds to the slots in which it happened, however late it comes."""
    services.add_to_slots(
        occurrences=[
            Occurrence(
                merchant_id=delivery.event.merchant_id,
                currency=delivery.event.currency,
                status=STATUS_OF[delivery.type],
                amount_minor=delivery.event.amount_minor,
                at=delivery.occurred_at,
            )
            for delivery in deliveries
        ],
        generation=deliveries[0].generation,
    )
