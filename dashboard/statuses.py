"""The shape and the colour for how a payment or an order stands."""

from orders.models import Status as OrderStatus
from payments.models import Status as PaymentStatus

_SHOWN = {
    PaymentStatus.PENDING.value: "wait",
    PaymentStatus.VALIDATED.value: "ok",
    PaymentStatus.REJECTED.value: "bad",
    PaymentStatus.REFUNDED.value: "warn",
    OrderStatus.CREATED.value: "ok",
    OrderStatus.MODIFIED.value: "ok",
    OrderStatus.CANCELLED.value: "none",
}


def state_of_status(status: str) -> str:
    """The state that the page's marks are drawn by."""
    return _SHOWN[status]
