"""Events of the analytics service, a stream made from a stream: topic `payment-volumes`."""

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from contracts.fields import CurrencyCode
from contracts.topics import PAYMENT_VOLUMES
from outbox.events import Event
from outbox.topics import Topic

SlotName = Literal["1m", "5m", "1h", "1d"]
# What became of payments in a slot: an event of the payment counts where it happened, and stays counted.
VolumeStatus = Literal["pending", "validated", "rejected", "refunded"]


class StatusTotal(msgspec.Struct, frozen=True, kw_only=True):
    """How many payments came to one status in a slot, and their amounts together, in the minor unit."""

    status: VolumeStatus
    count: Annotated[int, Meta(gt=0)]
    amount_minor: Annotated[int, Meta(gt=0)]


class SlotTotalled(Event, frozen=True, kw_only=True):
    """A time slot has closed with these totals of all merchants; again when a late event changed them."""

    type: ClassVar[str] = "analytics.SlotTotalled.v1"
    topic: ClassVar[Topic] = PAYMENT_VOLUMES
    slot: SlotName
    slot_start: datetime
    currency: CurrencyCode
    totals: tuple[StatusTotal, ...]

    def key(self) -> str:
        start = self.slot_start.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")
        return f"{self.slot}:{start}:{self.currency}"
