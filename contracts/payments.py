"""Events of the payment service. Topic `payments`, key: the payment's id."""

from typing import ClassVar
from uuid import UUID

from contracts.fields import AmountMinor, CurrencyCode, CustomerId, Line
from contracts.topics import PAYMENTS
from outbox.events import Event
from outbox.topics import Topic


class _PaymentEvent(Event, frozen=True, kw_only=True):
    topic: ClassVar[Topic] = PAYMENTS
    payment_id: UUID
    merchant_id: UUID
    customer_id: CustomerId
    amount_minor: AmountMinor
    currency: CurrencyCode
    lines: tuple[Line, ...] = ()

    def key(self) -> str:
        return str(self.payment_id)


class PaymentRequested(_PaymentEvent, frozen=True, kw_only=True):
    """A merchant asked a customer for money; nothing is paid yet."""

    type: ClassVar[str] = "payments.PaymentRequested.v1"


class PaymentValidated(_PaymentEvent, frozen=True, kw_only=True):
    """The payment is good. Carries all that orders and loyalty need: neither asks back."""

    type: ClassVar[str] = "payments.PaymentValidated.v1"
