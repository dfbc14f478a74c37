"""What can go wrong with a payment. The first line of a class is its message."""

from datetime import datetime
from uuid import UUID

from outbox import NonRecoverable


class PaymentError(Exception):
    """The base of this service's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class PaymentNotFound(PaymentError):
    """There is no such payment, or it is another merchant's."""


class TransitionForbidden(PaymentError):
    """The payment's state does not allow this. `code` says which rule."""

    code = "transition_forbidden"

    def __init__(self, payment_id: UUID, *, status: str, wanted: str, needed: str) -> None:
        super().__init__(f"Payment {payment_id} is {status}; only a {needed} payment can be {wanted}.")
        self.status = status


class PaymentExpired(TransitionForbidden):
    """The payment was not validated in time."""

    code = "payment_expired"

    def __init__(self, payment_id: UUID, *, expires_at: datetime) -> None:
        PaymentError.__init__(
            self,
            f"Payment {payment_id} expired at {expires_at.isoformat(timespec='seconds')};"
            " it cannot be validated any more.",
        )
        self.status = "pending"


class LinesDoNotAddUp(PaymentError):
    """The lines must add up to the amount of the payment."""


class NothingToRefund(PaymentError, NonRecoverable):
    """An order was cancelled whose payment is unknown or has never been good: its event cannot be right."""
