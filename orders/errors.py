"""What can go wrong with an order. The first line of a class is its message."""

from outbox import NonRecoverable


class OrderError(Exception):
    """The base of this service's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class OrderNotFound(OrderError):
    """There is no such order, or it is another merchant's."""


class OrderExists(OrderError, NonRecoverable):
    """The payment has its order already: a second PaymentValidated for it cannot be right."""
