"""Writes of payments. Each owns one transaction, in which the change and its event are one."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction

import outbox
from contracts.fields import Line
from contracts.money import Money, minor_to_text
from contracts.payments import (
    PaymentEvent,
    PaymentRefunded,
    PaymentRejected,
    PaymentRequested,
    PaymentValidated,
)
from outbox import clock
from outbox.ids import new_id
from payments.errors import LinesDoNotAddUp, NothingToRefund, PaymentNotFound, TransitionForbidden
from payments.models import Cause, Payment, Status


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

    It has settings.PAYMENTS_EXPIRE_AFTER seconds to be validated.
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
        expires_at=at + timedelta(seconds=settings.PAYMENTS_EXPIRE_AFTER),
    )
    with transaction.atomic():
        payment.save(force_insert=True)
        event_id = _publish(PaymentRequested(**_facts(payment)), payment, at=at)
    return payment, event_id


def validate_payment(
    *, payment_id: UUID, merchant_id: UUID | None, at: datetime | None = None
) -> tuple[Payment, UUID]:
    """Declare a pending payment good: the payment, and the id of the PaymentValidated that says so.

    `merchant_id` is for whom it is done; None acts for any merchant. `at` is when; None is the moment at
    which nobody else changes the payment any more. Of two at the same time one wins.
    Raises PaymentNotFound, TransitionForbidden; PaymentExpired from its deadline on, swept or not.
    """
    with transaction.atomic():
        payment = _locked(payment_id, merchant_id)
        at = _moment(payment, at)
        payment.validate(at=at)
        event_id = _publish(PaymentValidated(**_facts(payment)), payment, at=at)
    return payment, event_id


def reject_payment(
    *, payment_id: UUID, merchant_id: UUID | None, reason: str, at: datetime | None = None
) -> tuple[Payment, UUID]:
    """Declare that a pending payment will never be good: the payment, and the id of its PaymentRejected.

    `reason` is 1 to 500 characters, none of them a control character; it stays in the row. `merchant_id` and
    `at` as for `validate_payment`. Raises PaymentNotFound, TransitionForbidden.
    """
    with transaction.atomic():
        payment = _locked(payment_id, merchant_id)
        at = _moment(payment, at)
        payment.reject(cause=Cause.COMMAND, reason=reason, at=at)
        event_id = _publish(PaymentRejected(**_facts(payment), cause="command"), payment, at=at)
    return payment, event_id


def refund_payment(
    *, payment_id: UUID, merchant_id: UUID | None, reason: str, at: datetime | None = None
) -> tuple[Payment, UUID]:
    """Give the whole amount of a validated payment back: the payment, and the id of its PaymentRefunded.

    Its order is cancelled and its points are reversed by the services that hear of it. Arguments and errors
    as for `reject_payment`.
    """
    with transaction.atomic():
        payment = _locked(payment_id, merchant_id)
        at = _moment(payment, at)
        payment.refund(cause=Cause.COMMAND, reason=reason, at=at)
        event_id = _publish(PaymentRefunded(**_facts(payment), cause="command"), payment, at=at)
    return payment, event_id


def refund_cancelled_order(*, payment_id: UUID, merchant_id: UUID, at: datetime | None = None) -> UUID | None:
    """Give back what was paid for an order that has been cancelled: the id of the PaymentRefunded.

    None when the payment is refunded already, by a command at the same moment say: then nothing is done.
    `at` as for `validate_payment`. Raises NothingToRefund when the merchant has no such payment, or it has
    never been good.
    """
    with transaction.atomic():
        try:
            payment = _locked(payment_id, merchant_id)
        except PaymentNotFound as error:
            raise NothingToRefund(f"An order of the unknown payment {payment_id} was cancelled.") from error
        if payment.status == Status.REFUNDED:
            return None
        at = _moment(payment, at)
        try:
            payment.refund(cause=Cause.ORDER_CANCELLED, at=at)
        except TransitionForbidden as error:
            raise NothingToRefund(f"Its order was cancelled: {error}") from error
        return _publish(PaymentRefunded(**_facts(payment), cause="order_cancelled"), payment, at=at)


def expire_due_payments(*, at: datetime, limit: int) -> int:
    """Reject up to `limit` payments that nobody validated in time, those due longest first; returns how many.

    Payments that others hold a lock on are passed over: this may run beside itself, and waits for nobody.
    Fewer than `limit` means that no more were to be had.
    """
    with outbox.atomic():
        due = list(Payment.objects.due(at=at).select_for_update(skip_locked=True)[:limit])
        for payment in due:
            payment.reject(cause=Cause.EXPIRY, at=at)
            _publish(PaymentRejected(**_facts(payment), cause="expiry"), payment, at=at)
    return len(due)


def _locked(payment_id: UUID, merchant_id: UUID | None) -> Payment:
    """The payment as it is now; nobody else changes it before this transaction ends."""
    try:
        return Payment.objects.seen_by(merchant_id).select_for_update().get(id=payment_id)
    except Payment.DoesNotExist:
        raise PaymentNotFound() from None


def _moment(payment: Payment, at: datetime | None) -> datetime:
    """When a change of the locked payment happens: `at` or now, but never before what happened to it already.

    Read before the lock, the time would be that of asking: others may have changed the payment since, and its
    deadline may have passed. And the clocks of two processes agree only to a round trip.
    """
    return max(at or clock.now(), payment.changed_at)


def _publish(event: PaymentEvent, payment: Payment, *, at: datetime) -> UUID:
    return outbox.publish(event, at=at, owner=str(payment.merchant_id))


def _check_sum(*, money: Money, lines: Sequence[Line]) -> None:
    total = sum(line.quantity * line.unit_price_minor for line in lines)
    if lines and total != money.amount_minor:
        raise LinesDoNotAddUp(
            f"The lines add up to {minor_to_text(total, money.currency)} {money.currency}, "
            f"but the amount is {money}."
        )


def _facts(payment: Payment) -> dict[str, Any]:
    """What every event of a payment says. Metadata and reason stay out: they may hold a person's data."""
    return {
        "payment_id": payment.id,
        "merchant_id": payment.merchant_id,
        "customer_id": payment.customer_id,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "lines": tuple(msgspec.convert(payment.lines, list[Line])),
    }
