"""One payment's consequences, made without an event."""

from datetime import datetime
from typing import Any

from loyalty import services as loyalty
from loyalty.models import LedgerEntry
from orders import services as orders
from orders.models import Order


def instantiate_order(*, at: datetime, **sold: Any) -> Order:
    """The order of one payment, as orders.services.Sold has it."""
    [order] = orders.instantiate_orders(sold=[orders.Sold(**sold)], at=at)
    return order


def earn_points(*, at: datetime, points_per_unit: int, **paid: Any) -> LedgerEntry:
    """The points of one payment, as loyalty.services.Paid has it."""
    [entry] = loyalty.earn_points(paid=[loyalty.Paid(**paid)], points_per_unit=points_per_unit, at=at)
    return entry
