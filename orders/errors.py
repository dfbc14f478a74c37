"""What can go wrong with an order. The first line of a class is its message."""

from uuid import UUID

from outbox import NonRecoverable


class OrderError(Exception):
    """The base of this service's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class OrderNotFound(OrderError):
    """There is no such order, or it is another merchant's."""


class OrderExists(OrderError, NonRecoverable):
    """The payment has its order already: a second PaymentValidated for it cannot be right."""


class TransitionForbidden(OrderError):
    """The order's state does not allow this. `code` says which rule."""

    code = "transition_forbidden"

    def __init__(self, order_id: UUID, *, status: str, wanted: str) -> None:
        super().__init__(f"Order {order_id} is {status}; it cannot be {wanted} any more.")
        self.status = status


class LinesDoNotAddUp(OrderError, NonRecoverable):
    """The lines of an order must add up to its total."""
