"""Events of the order service. Topic `orders`, key: the order's id. Addresses stay in its tables."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from contracts.fields import AmountMinor, CurrencyCode, CustomerId, Line
from contracts.topics import ORDERS
from outbox.events import Event
from outbox.topics import Topic

# command: someone asked for it. payment_refunded: the money has gone back.
CancellationCause = Literal["command", "payment_refunded"]
Change = Literal["lines", "shipping_address"]


class OrderEvent(Event, frozen=True, kw_only=True):
    """What every event of an order says; `lines` as they stand after it."""

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


class OrderCreated(OrderEvent, frozen=True, kw_only=True):
    """A validated payment became an order; there is one order for one payment."""

    type: ClassVar[str] = "orders.OrderCreated.v1"


class OrderModified(OrderEvent, frozen=True, kw_only=True):
    """The lines or the address were changed; the total never is."""

    type: ClassVar[str] = "orders.OrderModified.v1"
    changed: Annotated[tuple[Change, ...], Meta(min_length=1)]


class OrderCancelled(OrderEvent, frozen=True, kw_only=True):
    """Nothing will be delivered: the payment is to be refunded, unless its refund is the cause."""

    type: ClassVar[str] = "orders.OrderCancelled.v1"
    cause: CancellationCause
