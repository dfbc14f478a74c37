"""A validated payment becomes exactly one order."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, transaction

from contracts.errors import UnknownCurrency
from contracts.fields import Line
from contracts.orders import OrderCreated
from contracts.payments import PaymentValidated
from orders.errors import OrderExists
from orders.handlers import consumer, instantiate_orders
from orders.models import Order
from outbox import NonRecoverable, clock
from outbox.models import OutboxEvent
from tests.integration.deliveries import delivered

pytestmark = pytest.mark.django_db
MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
LINES = (
    Line(sku="tea", quantity=2, unit_price_minor=500),
    Line(sku="cup", quantity=1, unit_price_minor=250),
)


def validated(**given: Any) -> PaymentValidated:
    facts: dict[str, Any] = {
        "payment_id": uuid4(),
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "lines": LINES,
    }
    return PaymentValidated(**facts | given)


def test_the_event_becomes_an_order_with_its_lines_and_an_event_of_its_own() -> None:
    event = validated()
    started = clock.now()
    with transaction.atomic():
        instantiate_orders([delivered(event)])
    order = Order.objects.get(payment_id=event.payment_id)
    assert (order.merchant_id, order.customer_id, order.status) == (MERCHANT, "c-1", "created")
    assert (order.total_minor, order.currency) == (1250, "EUR")
    assert [
        (line.position, line.sku, line.quantity, line.unit_price_minor) for line in order.lines.all()
    ] == [
        (1, "tea", 2, 500),
        (2, "cup", 1, 250),
    ]
    created = OutboxEvent.objects.get()
    assert (created.type, created.topic, created.key) == (OrderCreated.type, "orders", str(order.id))
    assert (created.owner, created.occurred_at) == (str(MERCHANT), order.created_at)
    # The order came to be now, however long ago the payment was validated.
    assert timedelta(0) <= order.created_at - started < timedelta(seconds=30)
    assert OrderCreated.from_json(bytes(created.payload)) == OrderCreated(
        order_id=order.id,
        payment_id=event.payment_id,
        merchant_id=MERCHANT,
        customer_id="c-1",
        total_minor=1250,
        currency="EUR",
        lines=LINES,
    )


def test_a_payment_without_lines_becomes_an_order_without_lines() -> None:
    event = validated(lines=())
    instantiate_orders([delivered(event)])
    assert Order.objects.get(payment_id=event.payment_id).lines.count() == 0


def test_a_second_event_for_the_payment_is_refused_for_good_and_changes_nothing() -> None:
    event = validated()
    instantiate_orders([delivered(event)])
    with pytest.raises(OrderExists, match=str(event.payment_id)) as refusal:
        instantiate_orders([delivered(event)])
    assert isinstance(refusal.value, NonRecoverable)
    assert (Order.objects.count(), OutboxEvent.objects.count()) == (1, 1)


def test_an_unknown_currency_is_refused_for_good() -> None:
    with pytest.raises(UnknownCurrency) as refusal:
        instantiate_orders([delivered(validated(currency="XXX"))])
    assert isinstance(refusal.value, NonRecoverable)
    assert not Order.objects.exists()


def test_the_consumer_declares_what_it_reads_and_its_limit() -> None:
    assert (consumer.name, consumer.topics) == ("orders", ["payments"])
    assert consumer.sync_delay_limit == timedelta(seconds=5)


@pytest.mark.parametrize("change", [{"total_minor": 0}, {"currency": "eu"}, {"status": "paid"}], ids=str)
def test_the_database_itself_refuses_what_cannot_be(change: dict[str, Any]) -> None:
    instantiate_orders([delivered(validated())])
    with pytest.raises(IntegrityError), transaction.atomic():
        Order.objects.update(**change)
