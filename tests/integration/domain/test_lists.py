"""Orders and points made of a whole batch at once are those made of one event at a time."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from contracts.fields import Line
from contracts.payments import PaymentRefunded, PaymentValidated
from loyalty.handlers import consumer as loyalty
from loyalty.models import Account, LedgerEntry
from orders.handlers import consumer as orders
from orders.models import Order
from outbox import Consumer
from outbox.kafka import Record
from outbox.models import InboxEntry, OutboxEvent
from outbox.processor import Processor
from tests.engine import record_of

pytestmark = pytest.mark.django_db

MERCHANTS = [UUID(int=1), UUID(int=2)]
PAYMENTS = 40


def records() -> list[Record]:
    """Payments of a few customers of two merchants; some are refunded in the same batch, one later."""
    found: list[Record] = []
    later: list[Record] = []
    for place in range(PAYMENTS):
        facts: dict[str, Any] = {
            "payment_id": UUID(int=1_000 + place),
            "merchant_id": MERCHANTS[place % 2],
            "customer_id": f"c-{place % 3}",
            "amount_minor": 1_000 + 100 * place,
            "currency": ("EUR", "JPY")[place % 5 == 0],
        }
        lines = (Line(sku="tea", quantity=1, unit_price_minor=facts["amount_minor"]),) * (place % 4 != 0)
        found.append(record_of(PaymentValidated(**facts, lines=lines), number=1))
        if place % 7 == 0:
            refund = PaymentRefunded(**facts, lines=lines, cause="command")
            (found if place else later).append(record_of(refund, number=2))
    return [*found, *later]


def made() -> dict[str, list[Any]]:
    """All that there is, without the ids and times that no two runs share."""
    orders_made = {order.id: order for order in Order.objects.with_lines()}
    payments = {entry.id: entry.payment_id for entry in LedgerEntry.objects.all()}
    events = []
    for event in OutboxEvent.objects.order_by("position"):
        data = json.loads(bytes(event.payload))
        about = data.pop("order_id", None) or data.pop("entry_id")
        of = orders_made[UUID(about)].payment_id if UUID(about) in orders_made else payments[UUID(about)]
        key = event.key if event.key != about else "its order"
        events.append(
            (str(of), event.type, key, event.owner, event.causation_id, event.correlation_id, str(data))
        )
    return {
        "orders": sorted(
            (str(order.payment_id), str(order.merchant_id), order.customer_id, order.total_minor,
             order.currency, order.status, order.cause, order.as_lines())
            for order in orders_made.values()
        ),
        "accounts": sorted(Account.objects.values_list("merchant_id", "customer_id")),
        "entries": sorted(
            LedgerEntry.objects.values_list(
                "payment_id", "account__merchant_id", "account__customer_id", "points", "reason"
            )
        ),
        "events": sorted(events, key=lambda event: (event[0], event[1])),
        "inbox": sorted(InboxEntry.objects.values_list("event_id", "outcome", "number")),
    }  # fmt: skip


def after(run: Callable[[], object]) -> dict[str, list[Any]]:
    """What a run makes of an empty database."""
    with transaction.atomic():
        run()
        found = made()
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("consumer", [orders, loyalty], ids=lambda consumer: str(consumer.name))
def test_a_batch_has_the_effects_of_its_events_one_by_one(consumer: Consumer) -> None:
    batch = records()

    def one_by_one() -> None:
        for record in batch:
            Processor(consumer).run([record])

    together = after(lambda: Processor(consumer).run(batch))
    assert together == after(one_by_one)
    assert len(together["inbox"]) == len(batch)
    assert len(together["orders"] or together["entries"]) >= PAYMENTS
    # An order or an entry each, and what the refunds of some of them brought about; each with its cause.
    assert sorted(event[4] for event in together["events"]) == [row[0] for row in together["inbox"]]


@pytest.mark.parametrize("consumer", [orders, loyalty], ids=lambda consumer: str(consumer.name))
def test_a_batch_asks_the_database_no_oftener_for_many_than_for_few(
    consumer: Consumer, django_assert_max_num_queries: Any
) -> None:
    batch = [record for record in records() if b"Validated" in (dict(record.headers)["ce_type"] or b"")]
    Processor(consumer).run(batch[:2])
    with django_assert_max_num_queries(16):
        Processor(consumer).run(batch[2:])
