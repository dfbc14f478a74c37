"""Looking for events, at a cost that does not grow with the tables.

Whatever is asked, one index is walked in its order from a place on, and what does not fit is passed over: at
most LOOK_AT events for one page. Where the page is not full by then, it says how far back it has looked, and
the next page begins there. What is few in all (an id, a correlation, what waits for the relay) is found by
its own index, whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from dashboard.events.conditions import conditions, live_generations
from dashboard.events.question import REFUSED, WAITING, Question, asked_consumers
from dashboard.events.walks import (
    COLUMNS,
    AllEvents,
    Bounds,
    EventsOfKey,
    EventsOfOwner,
    FewEvents,
    HeldEvents,
    SetAsideEvents,
    Statement,
    Walk,
    order_of,
)
from outbox.ids import lowest_id, time_of
from outbox.models import OutboxEvent, Outcome, Refusal
from outbox.selectors import Trace, traces
from outbox.unpublished import unpublished

PAGE_SIZE = 50
LOOK_AT = 20_000
# More of a correlation, or of a backlog, than this are met soon enough by walking.
FEW = 1_000
_ASIDE = {Outcome.DEAD.value: "outbox_dead_letter", Outcome.PARKED.value: "outbox_waiting_event"}
# The plan is to be the walk whatever the statistics say, and a moment's work is not worth compiling.
_PLAN = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off", "jit": "off"}


@dataclass(frozen=True, slots=True)
class Row:
    """An event with what became of it; `refused` when Kafka refused it, or one before it of its key."""

    trace: Trace
    refused: bool

    @property
    def written_at(self) -> datetime:
        """By its id."""
        return time_of(self.trace.event.id)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the answer, the latest first.

    kind   as what the question's text was found: "id", "key" or "correlation"; empty where it was not
    newer  the event above which the page before this one lies; None where there is none
    older  the event below which the next one lies
    until  down to when it looked, where it gave up looking before the page was full
    """

    rows: list[Row]
    kind: str
    newer: UUID | None = None
    older: UUID | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Route:
    """Along which index to look; `correlation_id` where that is to be looked for by walking."""

    walk: Walk
    kind: str = ""
    correlation_id: UUID | None = None


def search(
    question: Question,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
    size: int = PAGE_SIZE,
    look_at: int = LOOK_AT,
) -> Page:
    """The latest events that fit; or those before an event, or the ones just after it."""
    with indexes_alone():
        route = _route(question)
        if after is not None:
            page = _page(question, route, after=after, size=size, look_at=look_at)
            if page.rows or page.newer:
                return page
            before = None
        return _page(question, route, before=before, size=size, look_at=look_at)


@contextmanager
def indexes_alone() -> Iterator[None]:
    """Have the queries inside walk along indexes, in their order. Reads alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS plan (name, value)",
            [[*_PLAN], [*_PLAN.values()]],
        )
        yield


def correlated(correlation_id: UUID, *, limit: int = FEW) -> list[UUID]:
    """The ids of up to so many events of a correlation, in no order."""
    events = OutboxEvent.objects.filter(correlation_id=correlation_id).order_by()
    return list(events.values_list("id", flat=True)[:limit])


def _page(
    question: Question,
    route: _Route,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
    size: int,
    look_at: int,
) -> Page:
    upwards = after is not None
    walk, bounds = route.walk, _bounds(question, before=before, after=after)
    if isinstance(walk, EventsOfKey):
        walk = EventsOfKey(walk.key, above=_place(after), below=_place(before))
    wanted = list(conditions(question, correlation_id=route.correlation_id))
    limit = look_at if wanted else min(look_at, size + 1)
    found = _fitting(walk.steps(bounds, upwards=upwards, limit=limit), wanted, walk, upwards, size + 1)
    shown, full = found[:size], len(found) > size
    # It ended before the page was full: because nothing is left, or because it has looked at enough.
    stopped = None if full else _last(walk.steps(bounds, upwards=upwards, limit=limit), limit)
    if upwards:
        shown = shown[::-1]
        newer = shown[0].id if full else stopped
        return Page(_rows(shown), route.kind, newer=newer, older=shown[-1].id if shown else after)
    return Page(
        _rows(shown),
        route.kind,
        newer=None if before is None else shown[0].id if shown else before,
        older=shown[-1].id if full else stopped,
        until=None if stopped is None else time_of(stopped),
    )


def _fitting(
    steps: Statement, wanted: list[Statement], walk: Walk, upwards: bool, limit: int
) -> list[OutboxEvent]:
    where = " AND ".join(one.sql for one in wanted) or "true"
    query = (
        f"SELECT {COLUMNS} FROM ({steps.sql}) AS event WHERE {where}"
        f" {order_of(walk, upwards=upwards)} LIMIT %s"
    )
    parameters = [*steps.parameters, *(value for one in wanted for value in one.parameters), limit]
    return list(OutboxEvent.objects.raw(query, parameters))


def _last(steps: Statement, limit: int) -> UUID | None:
    """The event of the last step that was to be looked at; None where the walk had fewer."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM ({steps.sql}) AS event OFFSET %s",
            [*steps.parameters, limit - 1],
        )
        row = cursor.fetchone()
    last: UUID | None = row and row[0]
    return last


def _rows(events: list[OutboxEvent]) -> list[Row]:
    held = Refusal.objects.filter(event_id__in=[event.id for event in events])
    refused = set(held.values_list("event_id", flat=True))
    return [Row(trace, trace.event.id in refused) for trace in traces(events)]


def _bounds(question: Question, *, before: UUID | None, after: UUID | None) -> Bounds:
    bounds = Bounds().within(above=after, below=before)
    if question.since is not None:
        bounds = bounds.within(above=UUID(int=lowest_id(question.since).int - 1))
    if question.until is not None:
        bounds = bounds.within(below=lowest_id(question.until))
    return bounds


def _place(event_id: UUID | None) -> tuple[str, int] | None:
    """The topic and number of an event; None for one that is not there any more."""
    event = (
        None if event_id is None else OutboxEvent.objects.filter(id=event_id).only("topic", "number").first()
    )
    return None if event is None else (event.topic, event.number or 0)


def _route(question: Question) -> _Route:
    """By the rarest thing that is asked for."""
    if question.text:
        return _route_to(question.text)
    if question.status == WAITING and len(behind := unpublished(limit=FEW + 1)) <= FEW:
        return _Route(FewEvents(tuple(event.id for event in behind)))
    if question.status == REFUSED:
        return _Route(HeldEvents())
    if table := _ASIDE.get(question.status):
        live = live_generations(asked_consumers(question))
        return _Route(SetAsideEvents(table, tuple(live.items())))
    return _Route(EventsOfOwner(question.owner) if question.owner else AllEvents())


def _route_to(text: str) -> _Route:
    """To the events of a key, of an id or of a correlation id."""
    if OutboxEvent.objects.filter(key=text).order_by("key", "topic", "number").only("id")[:1]:
        return _Route(EventsOfKey(text), "key")
    with suppress(ValueError):
        wanted = UUID(text)
        related = correlated(wanted, limit=FEW + 1)
        if len(related) > FEW:
            return _Route(AllEvents(), "correlation", wanted)
        itself = list(OutboxEvent.objects.filter(id=wanted).values_list("id", flat=True))
        if related or itself:
            return _Route(FewEvents(tuple({*related, *itself})), "correlation" if related else "id")
    return _Route(FewEvents(()))
