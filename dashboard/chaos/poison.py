"""Poisoning an event: one that is well formed, and that one consumer cannot process until it is corrected.

A payment is written as a faulty release would write it: its lines do not come to its amount. The payment
service's own check is passed over, and nothing else. Its events take the ordinary way: through the outbox,
the relay and Kafka. Loyalty and analytics process them; orders refuses PaymentValidated and keeps it as a
dead letter, and what follows for the payment waits in order behind it.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from contracts.fields import Line
from contracts.money import minor_to_text
from contracts.payments import PaymentRequested
from outbox import clock, publish
from outbox.ids import new_id
from outbox.models import DeadLetter
from outbox.repair.acts import Operator, Report
from outbox.repair.letters import replay
from payments.models import Payment
from payments.services import refund_payment, validate_payment

CONSUMER = "orders"
CUSTOMER = "poisoned"
AMOUNT_MINOR, CURRENCY = 1_250, "EUR"
LINES = (
    Line(sku="coffee", quantity=2, unit_price_minor=500),
    Line(sku="cake", quantity=1, unit_price_minor=150),
)


@dataclass(frozen=True, slots=True)
class Poisoned:
    """The payment, and its PaymentValidated, which orders will refuse."""

    payment_id: UUID
    event_id: UUID


def poison_event(*, merchant_id: UUID) -> Poisoned:
    """Make the payment for this merchant, validate it, and refund it: three events of one key."""
    at = clock.now()
    payment = Payment(
        id=new_id(at),
        merchant_id=merchant_id,
        customer_id=CUSTOMER,
        amount_minor=AMOUNT_MINOR,
        currency=CURRENCY,
        lines=[
            {"sku": one.sku, "quantity": one.quantity, "unit_price_minor": one.unit_price_minor}
            for one in LINES
        ],
        created_at=at,
        expires_at=at + timedelta(seconds=settings.PAYMENTS_EXPIRE_AFTER),
    )
    with transaction.atomic():
        payment.save(force_insert=True)
        requested = PaymentRequested(
            payment_id=payment.id,
            merchant_id=merchant_id,
            customer_id=CUSTOMER,
            amount_minor=AMOUNT_MINOR,
            currency=CURRENCY,
            lines=LINES,
        )
        publish(requested, at=at, owner=str(merchant_id))
        _, event_id = validate_payment(payment_id=payment.id, merchant_id=merchant_id)
        refund_payment(payment_id=payment.id, merchant_id=merchant_id, reason="Ordered by mistake.")
    return Poisoned(payment.id, event_id)


def is_poisoned(payment_id: UUID) -> bool:
    """Whether this is a payment that poison_event() has made."""
    return Payment.objects.filter(id=payment_id, customer_id=CUSTOMER).exists()


def what_is_wrong() -> str:
    """The fault in a sentence."""
    total = sum(line.quantity * line.unit_price_minor for line in LINES)
    return (
        f"Its lines come to {minor_to_text(total, CURRENCY)} {CURRENCY}, its amount is"
        f" {minor_to_text(AMOUNT_MINOR, CURRENCY)} {CURRENCY}"
    )


def what_is_corrected() -> str:
    """What is other in the corrected data, in a few words."""
    last = LINES[-1]
    total = sum(line.quantity * line.unit_price_minor for line in LINES)
    right = last.unit_price_minor + (AMOUNT_MINOR - total) // last.quantity
    before, after = (minor_to_text(price, CURRENCY) for price in (last.unit_price_minor, right))
    return f"the price of {last.sku} corrected from {before} to {after} {CURRENCY}"


def was_poisoned(letter: DeadLetter) -> bool:
    """Whether it is an event of poison_event()'s, and no other that orders has refused."""
    try:
        told = json.loads(bytes(letter.payload or b""))
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("customer_id") == CUSTOMER


def corrected(data: bytes) -> bytes:
    """The event's data with the price of the last line raised by what is missing."""
    told = json.loads(data)
    last = told["lines"][-1]
    total = sum(line["quantity"] * line["unit_price_minor"] for line in told["lines"])
    last["unit_price_minor"] += (told["amount_minor"] - total) // last["quantity"]
    return json.dumps(told).encode()


def repair(letter: DeadLetter, *, operator: Operator) -> Report:
    """Replay a poisoned event with corrected data, then what waits behind it. Raises as replay()."""
    return replay(letter_id=letter.id, operator=operator, data=corrected(bytes(letter.payload or b"")))
