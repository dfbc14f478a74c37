"""Writes of loyalty. Each owns one transaction, in which the change and its event are one."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from contracts.loyalty import PointsEarned, PointsReversed
from contracts.money import Money
from loyalty.errors import PointsAlreadyEarned
from loyalty.models import Account, LedgerEntry, Reason
from loyalty.points import points_for
from outbox import Delivery, following, publish
from outbox.ids import new_id

logger = logging.getLogger(__name__)
Customer = tuple[UUID, str]  # a merchant's


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A validated payment.

    follows  the delivery whose consequence its points are; None for that of what is under way here
    """

    payment_id: UUID
    merchant_id: UUID
    customer_id: str
    money: Money
    follows: Delivery[Any] | None = None

    @property
    def customer(self) -> Customer:
        """Whose account its points go to."""
        return self.merchant_id, self.customer_id


def earn_points(*, paid: Sequence[Paid], points_per_unit: int, at: datetime) -> list[LedgerEntry]:
    """Enter the points of validated payments, all or none of them, and publish a PointsEarned for each.

    Accounts are opened where they are missing. Raises PointsAlreadyEarned at a payment's second time.
    """
    try:
        with transaction.atomic():
            accounts = _accounts({one.customer for one in paid}, at=at)
            entries = LedgerEntry.objects.bulk_create(
                LedgerEntry(
                    id=new_id(at),
                    account=accounts[one.customer],
                    points=points_for(one.money, points_per_unit=points_per_unit),
                    reason=Reason.EARNED,
                    payment_id=one.payment_id,
                    created_at=at,
                )
                for one in paid
            )
            for entry, one in zip(entries, paid, strict=True):
                event = PointsEarned(
                    entry_id=entry.id,
                    merchant_id=one.merchant_id,
                    customer_id=one.customer_id,
                    payment_id=one.payment_id,
                    points=entry.points,
                )
                with following(one.follows):
                    publish(event, at=at, owner=str(one.merchant_id))
    except IntegrityError as error:
        if "loyalty_once_per_payment" in str(error):
            detail = str(error).partition("DETAIL:")[2].strip()
            raise PointsAlreadyEarned(f"The payment has earned its points already: {detail}") from error
        raise
    return entries


def _accounts(customers: Iterable[Customer], *, at: datetime) -> dict[Customer, Account]:
    """Their accounts. New ones are opened in sorted order, so that two who open the same do not deadlock."""
    known = _known_accounts(customers)
    missing = sorted({*customers} - {*known})
    if not missing:
        return known
    Account.objects.bulk_create(
        (
            Account(id=new_id(at), merchant_id=merchant_id, customer_id=customer_id, created_at=at)
            for merchant_id, customer_id in missing
        ),
        ignore_conflicts=True,
    )
    return known | _known_accounts(missing)


def _known_accounts(customers: Iterable[Customer]) -> dict[Customer, Account]:
    names: dict[UUID, set[str]] = defaultdict(set)
    for merchant_id, customer_id in customers:
        names[merchant_id].add(customer_id)
    wanted = Q()
    for merchant_id, customer_ids in names.items():
        wanted |= Q(merchant_id=merchant_id, customer_id__in=customer_ids)
    found = Account.objects.filter(wanted) if names else Account.objects.none()
    return {(account.merchant_id, account.customer_id): account for account in found}


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
