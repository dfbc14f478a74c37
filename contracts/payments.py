"""Events of the payment service. Topic `payments`, key: the payment's id.

Why a payment was rejected or refunded stands in the event as one word. What a person wrote about it stays in
the payment's row, as its metadata does: it may hold anything, and events keep what they hold.
"""

from typing import ClassVar, Literal
from uuid import UUID

from contracts.fields import AmountMinor, CurrencyCode, CustomerId, Line
from contracts.topics import PAYMENTS
from outbox.events import Event
from outbox.topics import Topic

# command: someone asked for it. expiry: nobody validated it in time.
RejectionCause = Literal["command", "expiry"]
# command: someone asked for it. order_cancelled: what was bought will not be delivered.
RefundCause = Literal["command", "order_cancelled"]


class PaymentEvent(Event, frozen=True, kw_only=True):
    """What every event of a payment says."""

    topic: ClassVar[Topic] = PAYMENTS
    payment_id: UUID
    merchant_id: UUID
    customer_id: CustomerId
    amount_minor: AmountMinor
    currency: CurrencyCode
    lines: tuple[Line, ...] = ()

    def key(self) -> str:
        return str(self.payment_id)


class PaymentRequested(PaymentEvent, frozen=True, kw_only=True):
    """A merchant asked a customer for money; nothing is paid yet."""

    type: ClassVar[str] = "payments.PaymentRequested.v1"


class PaymentValidated(PaymentEvent, frozen=True, kw_only=True):
    """The payment is good. Carries all that orders and loyalty need: neither asks back."""

    type: ClassVar[str] = "payments.PaymentValidated.v1"


class PaymentRejected(PaymentEvent, frozen=True, kw_only=True):
    """The payment will never be good; nothing followed from it, so nothing is to be undone."""

    type: ClassVar[str] = "payments.PaymentRejected.v1"
    cause: RejectionCause


class PaymentRefunded(PaymentEvent, frozen=True, kw_only=True):
    """The whole amount goes back: the order is to be cancelled and the points are to be reversed."""

    type: ClassVar[str] = "payments.PaymentRefunded.v1"
    cause: RefundCause
