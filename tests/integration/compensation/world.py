"""All services with nothing between them but their events, handed over as a test says, each twice."""

import json
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from contracts.fields import Line
from contracts.money import Money
from loyalty.models import LedgerEntry
from orders.models import Order
from outbox import clock
from outbox.envelope import headers_of
from outbox.kafka import Record
from outbox.models import DeadLetter, OutboxEvent, ParkedKey, WaitingEvent
from outbox.processor import Processor
from outbox.registry import get_consumer
from payments import services
from payments.models import Payment

CONSUMERS = ("payments", "orders", "loyalty")


@dataclass
class World:
    """One merchant's payments, orders and points. `read` is how far each consumer has come in the outbox."""

    merchant_id: UUID = field(default_factory=uuid4)
    read: Counter[str] = field(default_factory=Counter)

    def validated(self) -> Payment:
        """A payment of 12.50 EUR that is good; nobody has heard of it yet."""
        payment, _ = services.request_payment(
            merchant_id=self.merchant_id,
            customer_id="c-1",
            money=Money.parse("12.50", "EUR"),
            lines=[Line(sku="tea", quantity=2, unit_price_minor=625)],
            at=clock.now(),
        )
        return services.validate_payment(payment_id=payment.id, merchant_id=self.merchant_id, at=clock.now())[
            0
        ]

    def deliver(self, consumer: str) -> int:
        """Hand over what the consumer has not read, twice: in one batch, and the whole batch again.

        Returns how many events there were.
        """
        declared = get_consumer(consumer)
        events = OutboxEvent.objects.filter(
            owner=str(self.merchant_id), position__gt=self.read[consumer], topic__in=declared.topics
        ).order_by("position")
        records = [as_record(event) for event in events]
        for _ in range(2):
            Processor(declared).run([record for record in records for _ in range(2)])
        self.read[consumer] = max([event.position for event in events], default=self.read[consumer])
        return len(records)

    def settle(self, *consumers: str) -> None:
        """Deliver to these, in this order, until nothing is left to hear: compensation ends by itself."""
        for _ in range(6):
            if not sum([self.deliver(consumer) for consumer in consumers or CONSUMERS]):
                return
        raise AssertionError("Events go on causing events.")

    def order_of(self, payment: Payment) -> Order:
        return Order.objects.get(payment_id=payment.id)

    def points(self) -> list[int]:
        """Of all entries, in order."""
        entries = LedgerEntry.objects.filter(account__merchant_id=self.merchant_id).order_by("created_at")
        return [entry.points for entry in entries]

    def told(self) -> dict[str, int]:
        """How often each event was published."""
        events = OutboxEvent.objects.filter(owner=str(self.merchant_id))
        return dict(Counter(event.type.split(".")[1] for event in events))

    def causes(self) -> dict[str, str]:
        """What the refund and the cancellation say brought them about."""
        data = {
            event.type.split(".")[1]: json.loads(bytes(event.payload))
            for event in OutboxEvent.objects.filter(owner=str(self.merchant_id))
        }
        return {name: facts["cause"] for name, facts in data.items() if "cause" in facts}


# What a payment that was given back has told, whoever began.
UNDONE = {
    "PaymentRequested": 1,
    "PaymentValidated": 1,
    "OrderCreated": 1,
    "PointsEarned": 1,
    "PaymentRefunded": 1,
    "OrderCancelled": 1,
    "PointsReversed": 1,
}


def assert_undone(world: World, payment: Payment) -> None:
    """The money is back, nothing is delivered, no point is left; each was told once, and nothing is stuck."""
    payment.refresh_from_db()
    assert (payment.status, world.order_of(payment).status) == ("refunded", "cancelled")
    assert world.points() == [12, -12]
    assert world.told() == UNDONE
    for table in (DeadLetter, ParkedKey, WaitingEvent):
        assert not table.objects.exists()


def as_record(event: OutboxEvent) -> Record:
    """The event as Kafka would hand it over."""
    return Record(
        topic=event.topic,
        partition=0,
        offset=event.position,
        key=(event.key or "").encode(),
        value=bytes(event.payload),
        headers=headers_of(event),
        timestamp=event.occurred_at,
    )
