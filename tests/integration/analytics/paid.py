"""Events of payments as they reach analytics, and what its slots should come to."""

from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from analytics.models import EVERYONE, Slot
from analytics.slots import WIDTHS, floor
from contracts.payments import (
    PaymentEvent,
    PaymentRefunded,
    PaymentRejected,
    PaymentRequested,
    PaymentValidated,
)
from outbox.kafka import Record
from tests.engine import record_of

MERCHANT = UUID(int=1)
OTHER = UUID(int=2)

_STATUSES: dict[type[PaymentEvent], str] = {
    PaymentRequested: "pending",
    PaymentValidated: "validated",
    PaymentRejected: "rejected",
    PaymentRefunded: "refunded",
}

Told = tuple[PaymentEvent, datetime]


def told(
    event: type[PaymentEvent] = PaymentValidated,
    *,
    at: datetime,
    amount_minor: int = 1250,
    currency: str = "EUR",
    merchant_id: UUID = MERCHANT,
) -> Told:
    """An event of a payment of its own, and when it happened."""
    cause: dict[str, Any] = {"cause": "command"} if event in (PaymentRejected, PaymentRefunded) else {}
    return (
        event(
            payment_id=uuid4(),
            merchant_id=merchant_id,
            customer_id="c-1",
            amount_minor=amount_minor,
            currency=currency,
            **cause,
        ),
        at,
    )


def record(one: Told, **options: Any) -> Record:
    """Its Kafka record."""
    return record_of(one[0], at=one[1], **options)


def expected(events: list[Told]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Counted one by one: (count, amount) by width, merchant, slot, currency and status."""
    counts: Counter[tuple[Any, ...]] = Counter()
    amounts: Counter[tuple[Any, ...]] = Counter()
    for event, at in events:
        for name, width in WIDTHS.items():
            for merchant in (event.merchant_id, EVERYONE):
                slot = (name, merchant, floor(at, width), event.currency, _STATUSES[type(event)])
                counts[slot] += 1
                amounts[slot] += event.amount_minor
    return {slot: (counts[slot], amounts[slot]) for slot in counts}


def stored(*, generation: int = 1) -> dict[tuple[Any, ...], tuple[int, int]]:
    """What the table holds, in the same shape."""
    rows = Slot.objects.filter(generation=generation).values_list(
        "width", "merchant_id", "slot_start", "currency", "status", "count", "amount_minor"
    )
    return {row[:5]: (row[5], int(row[6])) for row in rows}
