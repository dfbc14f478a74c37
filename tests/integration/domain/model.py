"""What the domain should do, in a few lines of plain Python: the measure for the real one."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from contracts.fields import Line


@dataclass(kw_only=True)
class Payment:
    """A payment and all that followed from it, as far as the events of it have been delivered."""

    id: UUID
    customer_id: str
    amount_minor: int
    currency: str
    lines: tuple[Line, ...]
    expires_at: datetime
    status: str = "pending"
    order: str | None = None
    order_lines: tuple[Line, ...] = ()
    earned: bool = False
    reversed: bool = False


@dataclass
class Model:
    """All payments of one merchant, and the events that must have been published about them."""

    payments: dict[UUID, Payment] = field(default_factory=dict)
    events: Counter[tuple[UUID, str]] = field(default_factory=Counter)

    def request(self, payment: Payment) -> None:
        self.payments[payment.id] = payment
        self._tell(payment, "payments.PaymentRequested.v1")

    def may_validate(self, payment: Payment, *, at: datetime) -> bool:
        return payment.status == "pending" and at < payment.expires_at

    def validate(self, payment: Payment) -> None:
        payment.status = "validated"
        self._tell(payment, "payments.PaymentValidated.v1")

    def reject(self, payment: Payment) -> None:
        payment.status = "rejected"
        self._tell(payment, "payments.PaymentRejected.v1")

    def expire(self, *, at: datetime) -> None:
        for payment in self.payments.values():
            if payment.status == "pending" and payment.expires_at <= at:
                self.reject(payment)

    def refund(self, payment: Payment) -> None:
        payment.status = "refunded"
        self._tell(payment, "payments.PaymentRefunded.v1")

    def modify(self, payment: Payment, lines: tuple[Line, ...]) -> None:
        payment.order, payment.order_lines = "modified", lines
        self._tell(payment, "orders.OrderModified.v1")

    def cancel(self, payment: Payment) -> None:
        payment.order = "cancelled"
        self._tell(payment, "orders.OrderCancelled.v1")

    def delivered(self, consumer: str, type_: str, payment: Payment) -> None:
        """The first delivery of an event to a consumer, with what that consumer does about it."""
        match consumer, type_.split(".")[1]:
            case "orders", "PaymentValidated":
                payment.order, payment.order_lines = "created", payment.lines
                self._tell(payment, "orders.OrderCreated.v1")
            case "orders", "PaymentRefunded" if payment.order != "cancelled":
                self.cancel(payment)
            case "loyalty", "PaymentValidated":
                payment.earned = True
                self._tell(payment, "loyalty.PointsEarned.v1")
            case "loyalty", "PaymentRefunded":
                payment.reversed = True
                self._tell(payment, "loyalty.PointsReversed.v1")
            case "payments", "OrderCancelled" if payment.status == "validated":
                self.refund(payment)

    def _tell(self, payment: Payment, type_: str) -> None:
        self.events[payment.id, type_] += 1
