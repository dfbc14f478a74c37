"""Writes of loyalty. Each owns one transaction, in which the change and its event are one."""

from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from contracts.loyalty import PointsEarned
from contracts.money import Money
from loyalty.errors import PointsAlreadyEarned
from loyalty.models import Account, LedgerEntry, Reason
from loyalty.points import points_for
from outbox import publish
from outbox.ids import new_id


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
