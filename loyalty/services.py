"""Writes of loyalty. Each owns one transaction, in which the change and its event are one."""

import logging
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from contracts.loyalty import PointsEarned, PointsReversed
from contracts.money import Money
from loyalty.errors import PointsAlreadyEarned
from loyalty.models import Account, LedgerEntry, Reason
from loyalty.points import points_for
from outbox import publish
from outbox.ids import new_id

logger = logging.getLogger(__name__)


def earn_points(
    *,
    payment_id: UUID,
    merchant_id: UUID,
    customer_id: str,
    money: Money,
    points_per_unit: int,
    at: datetime,
) -> LedgerEntry:
    """Enter the points of a validated payment and publish PointsEarned; the account is opened when missing.

    Raises PointsAlreadyEarned at a second time for one payment.
    """
    try:
        with transaction.atomic():
            account, _ = Account.objects.get_or_create(
                merchant_id=merchant_id,
                customer_id=customer_id,
                defaults={"id": new_id(at), "created_at": at},
            )
            entry = LedgerEntry.objects.create(
                id=new_id(at),
                account=account,
                points=points_for(money, points_per_unit=points_per_unit),
                reason=Reason.EARNED,
                payment_id=payment_id,
                created_at=at,
            )
            publish(
                PointsEarned(
                    entry_id=entry.id,
                    merchant_id=merchant_id,
                    customer_id=customer_id,
                    payment_id=payment_id,
                    points=entry.points,
                ),
                at=at,
                owner=str(merchant_id),
            )
    except IntegrityError as error:
        if "loyalty_once_per_payment" in str(error):
            raise PointsAlreadyEarned(f"Payment {payment_id} has earned its points already.") from error
        raise
    return entry


def reverse_points(*, payment_id: UUID, merchant_id: UUID, at: datetime) -> LedgerEntry | None:
    """Take back exactly the points that a refunded payment had earned, 0 points too; publish PointsReversed.

    None when they are taken back already, as a refund told anew finds them, or when it has earned none: a
    payment's events come in order, so its PaymentValidated was discarded, or lies before this consumer's
    beginning. Nothing is done then, and the log says so.
    """
    earned = (
        LedgerEntry.objects.filter(
            payment_id=payment_id, reason=Reason.EARNED, account__merchant_id=merchant_id
        )
        .select_related("account")
        .first()
    )
    if earned is None:
        logger.warning(
            "payment %s was refunded: it has earned no points here, nothing to reverse", payment_id
        )
        return None
    try:
        with transaction.atomic():
            entry = LedgerEntry.objects.create(
                id=new_id(at),
                account=earned.account,
                points=-earned.points,
                reason=Reason.REVERSED,
                payment_id=payment_id,
                created_at=at,
            )
            publish(
                PointsReversed(
                    entry_id=entry.id,
                    merchant_id=merchant_id,
                    customer_id=earned.account.customer_id,
                    payment_id=payment_id,
                    points=earned.points,
                ),
                at=at,
                owner=str(merchant_id),
            )
    except IntegrityError as error:
        if "loyalty_once_per_payment" in str(error):
            logger.info("payment %s was refunded: its points are taken back already", payment_id)
            return None
        raise
    return entry
