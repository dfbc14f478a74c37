"""Reads of payments."""

from uuid import UUID

from payments.errors import PaymentNotFound
from payments.models import Payment, PaymentQuerySet


def payments_seen_by(*, merchant_id: UUID | None) -> PaymentQuerySet:
    """The payments of one merchant, or of all for None; the latest first."""
    return Payment.objects.seen_by(merchant_id)


def get_payment(*, payment_id: UUID, merchant_id: UUID | None) -> Payment:
    """One payment as this merchant, or staff (None), sees it. Raises PaymentNotFound."""
    try:
        return Payment.objects.seen_by(merchant_id).get(id=payment_id)
    except Payment.DoesNotExist:
        raise PaymentNotFound() from None
