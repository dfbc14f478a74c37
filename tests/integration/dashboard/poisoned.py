"""Payments of which orders could not process the validation: a dead letter each, and a refund behind it."""

from datetime import UTC, datetime
from uuid import UUID

from contracts.errors import MoneyError
from contracts.money import Money
from outbox.models import DeadLetter, OutboxEvent
from outbox.processor import Processor
from outbox.registry import get_consumer
from payments.services import refund_payment, request_payment, validate_payment
from tests.integration.compensation.world import as_record


def poison(merchant_id: UUID, *, error: str = "no such currency", waits: int = 1) -> DeadLetter:
    """The letter of a new payment's validation in orders; its key is the payment's id."""
    now = datetime.now(UTC)
    payment, _ = request_payment(
        merchant_id=merchant_id, customer_id="c-1", money=Money(1_250, "EUR"), at=now
    )
    validate_payment(payment_id=payment.id, merchant_id=merchant_id, at=now)
    if waits:
        refund_payment(payment_id=payment.id, merchant_id=merchant_id, reason="wrong size", at=now)
    return condemn(payment.id, error=error)


def condemn(payment_id: UUID, *, error: str = "no such currency") -> DeadLetter:
    """The letter of a payment's validation in orders, behind which what has come since waits."""
    consumer = get_consumer("orders")
    events = OutboxEvent.objects.filter(type__in=consumer.routes, key=str(payment_id)).order_by("position")
    bad, *behind = (as_record(event) for event in events)
    processor = Processor(consumer)
    processor.condemn(MoneyError(error), attempts=1, record=bad)
    processor.run([bad, *behind])
    return DeadLetter.objects.get(key=str(payment_id))
