"""Events of the order service. Topic `orders`, key: the order's id."""

from typing import ClassVar
from uuid import UUID

from contracts.fields import AmountMinor, CurrencyCode, CustomerId, Line
from contracts.topics import ORDERS
from outbox.events import Event
from outbox.topics import Topic


class OrderCreated(Event, frozen=True, kw_only=True):
    """A validated payment became an order; there is one order for one payment."""

    type: ClassVar[str] = "orders.OrderCreated.v1"
    topic: ClassVar[Topic] = ORDERS
    order_id: UUID
    payment_id: UUID
    merchant_id: UUID
    customer_id: CustomerId
    total_minor: AmountMinor
    currency: CurrencyCode
    lines: tuple[Line, ...] = ()

    def key(self) -> str:
        return str(self.order_id)
