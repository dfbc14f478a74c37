"""What can go wrong with a payment. The first line of a class is its message."""

from uuid import UUID


class PaymentError(Exception):
    """The base of this service's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class PaymentNotFound(PaymentError):
    """There is no such payment, or it is another merchant's."""


class TransitionForbidden(PaymentError):
    """The payment's state does not allow this."""

    def __init__(self, payment_id: UUID, *, status: str, wanted: str) -> None:
        super().__init__(f"Payment {payment_id} is {status}; only a pending payment can be {wanted}.")
        self.status = status


class LinesDoNotAddUp(PaymentError):
    """The lines must add up to the amount of the payment."""
