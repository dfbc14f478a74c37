"""Where a payment's story does not go on by itself, and why it has no order."""

from dataclasses import dataclass
from uuid import UUID

from contracts.orders import OrderCreated
from contracts.payments import PaymentValidated
from outbox.models import Outcome
from outbox.selectors import PENDING
from payments.models import Status
from timeline.selectors import Timeline

_MAKER = OrderCreated.type.partition(".")[0]


@dataclass(frozen=True, slots=True)
class HeldUp:
    """An event that a consumer could not process; or that waits there, `parked`, behind one of its key."""

    event_id: UUID
    type: str
    consumer: str
    parked: bool


def held_up(timeline: Timeline) -> list[HeldUp]:
    """All that are, from the first on."""
    return [
        HeldUp(entry.event.id, entry.event.type, told.consumer, told.status == Outcome.PARKED)
        for entry in timeline.entries
        for told in entry.consumers
        if told.status in {Outcome.DEAD, Outcome.PARKED}
    ]


def why_no_order(timeline: Timeline) -> str:
    """Why there is no order (yet)."""
    if timeline.payment.status == Status.PENDING:
        return "It is made when the payment is validated."
    if timeline.payment.status == Status.REJECTED:
        return "There is none: the payment was rejected."
    told = [
        told.status
        for entry in timeline.entries
        for told in entry.consumers
        if entry.event.type == PaymentValidated.type and told.consumer == _MAKER
    ]
    said: dict[str, str] = {
        PENDING: "Not made yet: the order service has yet to hear of the payment.",
        Outcome.DEAD: "Not made: the order service could not process that the payment is validated.",
        Outcome.PARKED: "Not made yet: in the order service an earlier event of the payment is in the way.",
        Outcome.DISCARDED: "There is none: for the order service the event that the payment is validated was"
        " discarded.",
    }
    return said.get(told[-1] if told else "", "There is none.")
