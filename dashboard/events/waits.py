"""An event's time in each consumer, split into where it was spent, as a bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from outbox.ids import time_of
from outbox.models import DeadLetter, Outcome
from outbox.registry import get_consumer
from outbox.selectors import PENDING, Reception, Trace

# The length of the longest bar, in units of the drawing.
WIDTH = 1_000
NOTHING = timedelta(0)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Part:
    """A span of the event's way: where it was, and how long; `x` and `width` in units of the drawing."""

    kind: str
    word: str
    span: timedelta
    x: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """An event's way to one consumer.

    parts   none where it was rebuilt: of the way that it once had nothing is known
    total   from when the event happened to when this consumer moved past it; until now where it has not
    so_far  whether it has not, or the event still waits there for another one
    limit   the consumer's, for the whole
    mark    where the limit lies in the drawing; None beyond it
    """

    reception: Reception
    parts: list[Part]
    total: timedelta
    so_far: bool
    limit: timedelta
    mark: float | None

    @property
    def late(self) -> bool:
        """Whether it took longer than it may. What was not to have an effect here is never late."""
        return self.reception.status != Outcome.UNHANDLED and self.total > self.limit


def waits_of(trace: Trace, *, now: datetime, letters: Sequence[DeadLetter] = ()) -> list[Wait]:
    """Each consumer's, all in one scale: that of the longest. `letters` are the event's, settled ones too."""
    died = {letter.consumer: letter.died_at for letter in letters}
    split = [
        (one, [] if one.rebuilt else _parts(trace, one, died_at=died.get(one.consumer), now=now))
        for one in trace.consumers
    ]
    totals = [sum((part.span for part in parts), NOTHING) for _, parts in split]
    longest = max([*totals, timedelta(milliseconds=1)])
    return [_wait(one, parts, total, longest) for (one, parts), total in zip(split, totals, strict=True)]


def _wait(reception: Reception, parts: list[Part], total: timedelta, longest: timedelta) -> Wait:
    drawn, x = [], 0.0
    for part in parts:
        width = round(part.span / longest * WIDTH, 1)
        drawn.append(Part(part.kind, part.word, part.span, round(x, 1), width))
        x += width
    limit = get_consumer(reception.consumer).sync_delay_limit
    so_far = reception.status in {PENDING, Outcome.PARKED}
    mark = round(limit / longest * WIDTH, 1) if limit <= longest else None
    return Wait(reception, drawn, total, so_far, limit, mark)


def in_kafka_at(trace: Trace) -> datetime | None:
    """When Kafka had the event, at the latest: who read it first may have before its trace was written."""
    known = [place.published_at for place in trace.publications]
    known += [at for one in trace.consumers if (at := one.received_at or one.moved_at)]
    return min(known, default=None)


def _parts(trace: Trace, reception: Reception, *, died_at: datetime | None, now: datetime) -> list[Part]:
    """The spans between the times that are known, none shorter than nothing.

    Clocks may differ: what came first is known by what came after it.
    """
    parked = reception.status == Outcome.PARKED
    moved, received = reception.moved_at, reception.received_at
    happened, written = trace.event.occurred_at, time_of(trace.event.id)
    if abs(written - happened) < _MILLISECOND:
        written = happened  # an id says no more of its time
    stages = [("before", "before it was written", happened), ("outbox", "in the outbox", written)]
    if sent := min((at for place in trace.publications if (at := place.sent_at)), default=None):
        stages.append(("sending", "on its way into Kafka", sent))
    if there := in_kafka_at(trace):
        word = "in Kafka" if received or not moved else "in Kafka and in the consumer"
        stages.append(("broker", word, there))
    if received:
        stages.append(("consumer", "parked" if parked else "in the consumer", received))
    settled = reception.status != Outcome.DEAD
    if settled and died_at and received and moved and received <= died_at < moved:
        stages.append(("letter", "as a dead letter", died_at))
    parts, end = [], now if parked or not moved else moved
    for kind, word, begun in reversed(stages):
        parts.append(Part(kind, word, max(end - begun, NOTHING)))
        end = min(begun, end)
    return [part for part in reversed(parts) if part.span or part.kind != "before"]
