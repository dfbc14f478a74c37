"""Events of the loyalty service. Topic `loyalty`, key: merchant and customer, as an account is."""

from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Meta

from contracts.fields import CustomerId
from contracts.topics import LOYALTY
from outbox.events import Event
from outbox.topics import Topic


class _PointsEvent(Event, frozen=True, kw_only=True):
    topic: ClassVar[Topic] = LOYALTY
    entry_id: UUID
    merchant_id: UUID
    customer_id: CustomerId
    payment_id: UUID
    points: Annotated[int, Meta(ge=0)]

    def key(self) -> str:
        return f"{self.merchant_id}:{self.customer_id}"


class PointsEarned(_PointsEvent, frozen=True, kw_only=True):
    """A validated payment earned points: one entry for one payment, of 0 points when it was too small."""

    type: ClassVar[str] = "loyalty.PointsEarned.v1"


class PointsReversed(_PointsEvent, frozen=True, kw_only=True):
    """The points of a refunded payment were taken back: `points` of them, as many as it had earned."""

    type: ClassVar[str] = "loyalty.PointsReversed.v1"
