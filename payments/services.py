"""Writes of payments. Each owns one transaction, in which the change and its event are one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from contracts.fields import Line
from contracts.money import Money, minor_to_text
from contracts.payments import PaymentRequested, PaymentValidated
from outbox import publish
from outbox.ids import new_id
from payments.errors import LinesDoNotAddUp, PaymentNotFound
from payments.models import Payment


def request_payment(
    *,
    merchant_id: UUID,
    customer_id: str,
    money: Money,
    at: datetime,
    lines: Sequence[Line] = (),
    metadata: Mapping[str, str] | None = None,
) -> tuple[Payment, UUID]:
    """Ask a customer for money: a pending payment and its PaymentRequested, whose id is returned beside it.

    Raises LinesDoNotAddUp when there are lines and their sum is not the amount.
    """
    _check_sum(money=money, lines=lines)
    payment = Payment(
        id=new_id(at),
        merchant_id=merchant_id,
        customer_id=customer_id,
        amount_minor=money.amount_minor,
        currency=money.currency,
        lines=msgspec.to_builtins(list(lines)),
        metadata=dict(metadata or {}),
        created_at=at,
    )
    with transaction.atomic():
        payment.save(force_insert=True)
        event_id = publish(PaymentRequested(**_facts(payment)), at=at, owner=str(merchant_id))
    return payment, event_id


def validate_payment(*, payment_id: UUID, merchant_id: UUID | None, at: datetime) -> tuple[Payment, UUID]:
    """Declare a pending payment good: the payment, and the id of the PaymentValidated that says so.

    `merchant_id` is for whom it is done; None acts for any merchant. Of two at the same time one wins.
    Raises PaymentNotFound, TransitionForbidden.
    """
    with transaction.atomic():
        try:
            payment = Payment.objects.seen_by(merchant_id).select_for_update().get(id=payment_id)
        except Payment.DoesNotExist:
            raise PaymentNotFound() from None
        payment.validate(at=at)
        event_id = publish(PaymentValidated(**_facts(payment)), at=at, owner=str(payment.merchant_id))
    return payment, event_id


def _check_sum(*, money: Money, lines: Sequence[Line]) -> None:
    total = sum(line.quantity * line.unit_price_minor for line in lines)
    if lines and total != money.amount_minor:
        raise LinesDoNotAddUp(
            f"The lines add up to {minor_to_text(total, money.currency)} {money.currency}, "
            f"but the amount is {money}."
        )


def _facts(payment: Payment) -> dict[str, Any]:
    """What every event of a payment says. Metadata stays out: it may hold anything, a person's data too."""
    return {
        "payment_id": payment.id,
        "merchant_id": payment.merchant_id,
        "customer_id": payment.customer_id,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "lines": tuple(msgspec.convert(payment.lines, list[Line])),
    }
