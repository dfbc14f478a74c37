"""A timeline as a drawing: one lane per service, time to the right, commands solid and events dashed.

Every event has a column of its own, in causal order, so that its box and the lines from it meet no other box.
A line leaves each event through the lanes of the consumers that handle it, with a mark of what each made of
it; where a consumer published in answer, the line turns towards that event.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from contracts.orders import OrderCancelled, OrderCreated, OrderModified
from contracts.payments import PaymentRefunded, PaymentRejected, PaymentRequested, PaymentValidated
from dashboard.receptions import state_of, word_of
from outbox.registry import all_consumers, get_consumer
from outbox.selectors import PENDING, Reception
from payments.models import Cause
from timeline.selectors import Entry, Timeline

# Of a long timeline the latest are drawn; its table has all.
MOST_DRAWN = 24
SERVICES = ("payments", "orders", "loyalty", "analytics")

LABELS, PITCH, BOX_WIDTH, BOX_HEIGHT = 92, 156, 138, 40
COMMANDS_HEIGHT, LANE_HEIGHT = 34, 60
# A command arrives left of the middle, from which the event's own line leaves.
COMMAND_OFFSET = -34

_COMMANDS = {
    PaymentRequested.type: "request",
    PaymentValidated.type: "validate",
    PaymentRejected.type: "reject",
    PaymentRefunded.type: "refund",
    OrderCreated.type: "create",
    OrderModified.type: "modify",
    OrderCancelled.type: "cancel",
}


@dataclass(frozen=True, slots=True)
class Lane:
    """A service, at the height of its middle."""

    name: str
    y: int

    @property
    def top(self) -> int:
        """Where it begins."""
        return self.y - LANE_HEIGHT // 2


@dataclass(frozen=True, slots=True)
class Box:
    """An event; x and y are its middle."""

    entry: Entry
    x: int
    y: int
    after: timedelta

    @property
    def left(self) -> int:
        """Its left edge."""
        return self.x - BOX_WIDTH // 2

    @property
    def top(self) -> int:
        """Its upper edge."""
        return self.y - BOX_HEIGHT // 2


@dataclass(frozen=True, slots=True)
class Wire:
    """A line: what kind ("command" or "event"), its path, and for whom it says what."""

    kind: str
    path: str
    title: str
    label: str = ""
    x: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a line meets the lane of a consumer: what that made of the event."""

    x: int
    y: int
    state: str
    title: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything to draw, in the units of the drawing. `left_out` earlier events are in the table alone."""

    width: int
    height: int
    lanes: list[Lane]
    boxes: list[Box]
    wires: list[Wire]
    stops: list[Stop]
    left_out: int


def draw(timeline: Timeline) -> Drawing:
    """The drawing of a timeline."""
    entries = list(timeline.entries)[-MOST_DRAWN:]
    names = [*SERVICES, *sorted({entry.service for entry in entries} - set(SERVICES))]
    consumers = {consumer.name for consumer in all_consumers()}
    names = [name for name in names if name in consumers or any(entry.service == name for entry in entries)]
    lanes = {
        name: Lane(name, COMMANDS_HEIGHT + LANE_HEIGHT * row + LANE_HEIGHT // 2)
        for row, name in enumerate(names)
    }
    boxes = {
        entry.event.id: Box(
            entry,
            LABELS + PITCH * column + PITCH // 2,
            lanes[entry.service].y,
            entry.at - timeline.entries[0].at,
        )
        for column, entry in enumerate(entries)
    }
    wires: list[Wire] = []
    stops: list[Stop] = []
    for box in boxes.values():
        if box.entry.event.causation_id is None:
            wires.append(_command(box, timeline))
        told, met = _event(box, boxes.values(), lanes)
        wires += told
        stops += met
    width = LABELS + PITCH * max(len(entries), 1) + 8
    height = COMMANDS_HEIGHT + LANE_HEIGHT * len(lanes) + 2
    left_out = len(timeline.entries) - len(entries)
    return Drawing(width, height, list(lanes.values()), list(boxes.values()), wires, stops, left_out)


def _command(box: Box, timeline: Timeline) -> Wire:
    """The line of the command that led to the event; a deadline sends one, too."""
    expired = box.entry.event.type == PaymentRejected.type and timeline.payment.cause == Cause.EXPIRY
    name = "expire" if expired else _COMMANDS.get(box.entry.event.type, "command")
    x = box.x + COMMAND_OFFSET
    return Wire("command", f"M{x} 24V{box.top - 1}", f"command: {name}", label=name, x=x)


def _event(box: Box, boxes: Iterable[Box], lanes: dict[str, Lane]) -> tuple[list[Wire], list[Stop]]:
    """A line up and one down through the lanes of those who hear of it, and off to the answers."""
    stops = [
        Stop(
            box.x,
            lanes[heard.consumer].y,
            state_of(heard.status),
            f"{heard.consumer}: {word_of(heard.status)}",
        )
        for heard in _heard(box.entry)
        if heard.consumer in lanes and lanes[heard.consumer].y != box.y
    ]
    heights = [stop.y for stop in stops]
    wires = []
    if heights and min(heights) < box.y:
        wires.append(
            Wire("event", f"M{box.x} {box.y - BOX_HEIGHT // 2}V{min(heights)}", box.entry.event.type)
        )
    if heights and max(heights) > box.y:
        wires.append(
            Wire("event", f"M{box.x} {box.y + BOX_HEIGHT // 2}V{max(heights)}", box.entry.event.type)
        )
    wires += [
        Wire("event", f"M{box.x} {answer.y}H{answer.left - 3}", f"{box.entry.event.type}, and its answer")
        for answer in boxes
        if answer.entry.event.causation_id == box.entry.event.id and answer.y in heights
    ]
    return wires, stops


def _heard(entry: Entry) -> list[Reception]:
    """What consumers that handle this type made of it; those that pass it over are left out."""
    return [
        reception
        for reception in entry.consumers
        if reception.status != "unhandled"
        and (reception.status != PENDING or entry.event.type in get_consumer(reception.consumer).routes)
    ]
