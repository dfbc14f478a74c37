"""Events of the loyalty service. Topic `loyalty`, key: merchant and customer, as an account is."""

from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Meta

from contracts.fields import CustomerId
from contracts.topics import LOYALTY
from outbox.events import Event
from outbox.topics import Topic


class PointsEarned(Event, frozen=True, kw_only=True):
    """A validated payment earned points: one entry for one payment, of 0 points when it was too small."""

    type: ClassVar[str] = "loyalty.PointsEarned.v1"
    topic: ClassVar[Topic] = LOYALTY
    entry_id: UUID
    merchant_id: UUID
    customer_id: CustomerId
    payment_id: UUID
    points: Annotated[int, Meta(ge=0)]

    def key(self) -> str:
        return f"{self.merchant_id}:{self.customer_id}"
