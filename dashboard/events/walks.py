"""Ways through the events, each along one index and in its order: a walk can be begun anywhere, and ended.

A walk is a subquery of so many steps, whose ids are looked up as they come. Its bounds are comparisons of
rows where the index has several columns: an equality would let a planner with other statistics choose
another index.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from uuid import UUID

# All that a table shows; the payload, which may be large, is left where it is.
COLUMNS = "id, topic, key, number, partition, type, source, occurred_at, correlation_id, causation_id, owner"
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)


class Bounds(NamedTuple):
    """The ids between which a walk goes, both left out."""

    above: UUID = _FIRST
    below: UUID = _LAST

    def within(self, *, above: UUID | None = None, below: UUID | None = None) -> "Bounds":
        """Narrowed."""
        return Bounds(max(self.above, above or _FIRST), min(self.below, below or _LAST))


class Statement(NamedTuple):
    """SQL and its parameters."""

    sql: str
    parameters: list[Any]


class Walk(Protocol):
    """Steps through events, from the latest on or, `upwards`, from the earliest.

    `order` names the columns of a step, by which it is in order.
    """

    @property
    def order(self) -> tuple[str, ...]: ...

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        """Up to `limit` steps: events with COLUMNS, in order."""
        ...


@dataclass(frozen=True, slots=True)
class AllEvents:
    """By id, and so by time."""

    order = ("id",)

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        return Statement(
            f"SELECT {COLUMNS} FROM outbox_event WHERE id > %s AND id < %s {_by(self, upwards)} LIMIT %s",
            [bounds.above, bounds.below, limit],
        )


@dataclass(frozen=True, slots=True)
class EventsOfOwner:
    """By id, of one owner."""

    owner: str
    order = ("owner", "id")

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        return Statement(
            f"SELECT {COLUMNS} FROM outbox_event WHERE (owner, id) > (%s, %s) AND (owner, id) < (%s, %s)"
            f" AND id > %s AND id < %s {_by(self, upwards)} LIMIT %s",
            [self.owner, bounds.above, self.owner, bounds.below, *bounds, limit],
        )


@dataclass(frozen=True, slots=True)
class EventsOfKey:
    """By topic and number: the order of the key itself, in which its ids need not quite be.

    above, below  the topics and numbers of the events between which it goes, in the place of ids; an id that
                  bounds the walk in time would not be a step of this index
    """

    key: str
    above: tuple[str, int] | None = None
    below: tuple[str, int] | None = None
    order = ("key", "topic", "number")

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        low, high = self.above or ("", 0), self.below
        where = "(key, topic, number) > (%s, %s, %s) AND key <= %s"
        parameters: list[Any] = [self.key, *low, self.key]
        if high is not None:
            where += " AND (key, topic, number) < (%s, %s, %s)"
            parameters += [self.key, *high]
        return Statement(
            f"SELECT {COLUMNS} FROM outbox_event WHERE {where} {_by(self, upwards)} LIMIT %s",
            [*parameters, limit],
        )


@dataclass(frozen=True, slots=True)
class FewEvents:
    """These, by id."""

    ids: tuple[UUID, ...]
    order = ("id",)

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        return _looked_up(
            Statement(
                "SELECT event_id FROM unnest(%s::uuid[]) AS few (event_id)"
                f" WHERE event_id > %s AND event_id < %s ORDER BY event_id {_way(upwards)} LIMIT %s",
                [list(self.ids), *bounds, limit],
            ),
            upwards=upwards,
        )


@dataclass(frozen=True, slots=True)
class HeldEvents:
    """Those that Kafka refused, and those behind them."""

    order = ("id",)

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        return _looked_up(
            Statement(
                "SELECT event_id FROM outbox_refusal WHERE event_id > %s AND event_id < %s"
                f" ORDER BY event_id {_way(upwards)} LIMIT %s",
                [*bounds, limit],
            ),
            upwards=upwards,
        )


@dataclass(frozen=True, slots=True)
class SetAsideEvents:
    """Those of which consumers keep a copy in `table`: dead letters, or what waits behind them.

    generations  the live one of each consumer. Letters that have been settled are steps, too.
    """

    table: str
    generations: tuple[tuple[str, int], ...]
    order = ("id",)

    def steps(self, bounds: Bounds, *, upwards: bool, limit: int) -> Statement:
        one = (
            f"(SELECT event_id FROM {self.table}"
            " WHERE (consumer, generation, event_id) > (%s, %s, %s)"
            " AND (consumer, generation, event_id) < (%s, %s, %s)"
            f" ORDER BY consumer {_way(upwards)}, generation {_way(upwards)}, event_id {_way(upwards)}"
            " LIMIT %s)"
        )
        parameters: list[Any] = []
        for each in self.generations:
            parameters += [*each, bounds.above, *each, bounds.below, limit]
        several = " UNION ".join([one] * len(self.generations))
        return _looked_up(
            Statement(
                f"SELECT event_id FROM ({several}) AS aside ORDER BY event_id {_way(upwards)} LIMIT %s",
                [*parameters, limit],
            ),
            upwards=upwards,
        )


def _looked_up(ids: Statement, *, upwards: bool) -> Statement:
    """The events of these ids, looked up one by one: OFFSET 0 keeps that from becoming a join of tables."""
    return Statement(
        f"SELECT step.event_id AS id, {COLUMNS.removeprefix('id, ')} FROM ({ids.sql}) AS step"
        f" CROSS JOIN LATERAL (SELECT {COLUMNS} FROM outbox_event WHERE id = step.event_id OFFSET 0) AS event"
        f" ORDER BY step.event_id {_way(upwards)}",
        ids.parameters,
    )


def _way(upwards: bool) -> str:
    return "ASC" if upwards else "DESC"


def _by(walk: Walk, upwards: bool) -> str:
    return "ORDER BY " + ", ".join(f"{column} {_way(upwards)}" for column in walk.order)


def order_of(walk: Walk, *, upwards: bool) -> str:
    """The order of its steps, for what selects from them."""
    return _by(walk, upwards)
