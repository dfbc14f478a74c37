"""Looking for dead letters, at a cost that does not grow with what there is.

Some filters have an index together, and what they ask for is read in its order. Of others one index is
walked, and what does not fit is passed over: at most LOOK_AT letters. That of the rarest filter is taken, if
no more than FEW letters fit it: then all that fit are found. Where the walk ends before enough are found,
that is told, and where.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models.functions import Left

from dashboard.letters.filters import Asked, Place
from outbox.models import DeadLetter
from outbox.walking import in_index_order

LOOK_AT = 20_000
FEW = 1_000
LINE = 200  # characters of an error that a list shows
KEPT_OUT = ("error", "payload", "headers", "raw_key", "traceback", "correction")
_COLUMNS = ", ".join(
    f'"{field.column}"' for field in DeadLetter._meta.concrete_fields if field.column not in KEPT_OUT
)
# The columns of an index before the order, the narrowest first. Letters are asked for in the order of all of
# its columns, which no other index has: which one is walked does not depend on statistics.
_INDEXED = (
    ("key", "state"),
    ("state", "consumer", "fingerprint", "cause"),
    ("consumer", "cause", "state"),
    ("fingerprint", "state"),
    ("cause", "state"),
    ("consumer", "state"),
    ("state",),
)
# Before all letters, and after them.
_BEGINNING, _END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Found:
    """Letters that fit, in the order of the walk.

    stopped  the last one that was looked at, where the walk was given up; None where all were looked at, or
             enough found
    """

    letters: list[DeadLetter]
    stopped: Place | None = None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Letters in their order: those that fit `along`, of which those are wanted that fit `rest`, too.

    first, last  the places between which they lie; the first is inside, unless it is `after`
    ids          walks past these alone, which no index has in that order
    """

    along: dict[str, Any]
    rest: dict[str, Any]
    first: Place
    last: Place
    after: bool = False
    ids: list[UUID] | None = None

    @property
    def order(self) -> str:
        way = "ASC" if self.after else "DESC"
        return "ORDER BY " + ", ".join(f"{name} {way}" for name in (*self.along, "died_at", "id"))

    def from_place(self, place: Place | None, *, upwards: bool) -> "_Walk":
        """The same, from a place on."""
        if place is None:
            return self
        if upwards:
            return replace(self, first=max(self.first, place), after=True)
        return replace(self, last=min(self.last, place))

    def steps(self, limit: int) -> tuple[str, list[Any]]:
        """Everything that is walked past."""
        source, ids = "outbox_dead_letter", [] if self.ids is None else [self.ids]
        if self.ids is not None:
            # OFFSET keeps them from being looked for in the order that is asked for, among all there are.
            source = "(SELECT * FROM outbox_dead_letter WHERE id = ANY(%s) OFFSET 0) AS few"
        columns = (*self.along, "died_at", "id")
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        sql = (
            f"SELECT * FROM {source} WHERE ({names}) {'>' if self.after else '>='} ({marks})"
            f" AND ({names}) < ({marks}) {self.order} LIMIT {limit:d}"
        )
        return sql, [*ids, *self._at(self.first), *self._at(self.last)]

    def _at(self, place: Place) -> list[Any]:
        return [*self.along.values(), place.at, place.id]


def fitting(
    asked: Asked,
    most: int,
    *,
    place: Place | None = None,
    upwards: bool = False,
    using: str = DEFAULT_DB_ALIAS,
) -> Found:
    """The latest that fit, or those before a place; `upwards`, the ones just after it, the oldest first.

    Without what only one letter's page shows; of the error its beginning.
    """
    with in_index_order(using=using):
        walk = _walk(asked, using=using).from_place(place, upwards=upwards)
        limit = LOOK_AT if walk.rest else most
        letters = _fitting(walk, limit, most, using=using)
        ended = not walk.rest or len(letters) == most
        return Found(letters, None if ended else _last(walk, limit, using=using))


def letters_of(ids: list[UUID], *, using: str = DEFAULT_DB_ALIAS) -> list[DeadLetter]:
    """Those of these ids, as `fitting` has them; the latest first."""
    letters = DeadLetter.objects.using(using).defer(*KEPT_OUT).annotate(begins=Left("error", LINE))
    return list(letters.filter(id__in=ids).order_by("-died_at", "-id"))


def _fitting(walk: _Walk, limit: int, most: int, *, using: str) -> list[DeadLetter]:
    steps, parameters = walk.steps(limit)
    where = " AND ".join(f"{name} = %s" for name in walk.rest) or "true"
    query = (
        f"SELECT {_COLUMNS}, left(error, {LINE:d}) AS begins FROM ({steps}) AS letter"
        f" WHERE {where} {walk.order} LIMIT {most:d}"
    )
    return list(DeadLetter.objects.using(using).raw(query, [*parameters, *walk.rest.values()]))


def _last(walk: _Walk, limit: int, *, using: str) -> Place | None:
    """The last step; None where the walk had fewer."""
    steps, parameters = walk.steps(limit)
    with connections[using].cursor() as sql:
        sql.execute(f"SELECT died_at, id FROM ({steps}) AS letter OFFSET {limit - 1:d}", parameters)
        row = sql.fetchone()
    return None if row is None else Place(*row)


def _walk(asked: Asked, *, using: str) -> _Walk:
    """Along what is asked for, where an index has all of it; else along the rarest, or the narrowest."""
    columns = asked.columns()
    first = Place(columns.pop("died_at__gte", _BEGINNING), UUID(int=0))
    last = Place(columns.pop("died_at__lt", _END), UUID(int=0))
    walks = []
    for way in _INDEXED:
        if columns.keys() >= set(way):
            along = {name: columns[name] for name in way}
            rest = {name: value for name, value in columns.items() if name not in along}
            walks.append(_Walk(along, rest, first, last))
    whole = next((walk for walk in walks if not walk.rest), None)
    few = whole or next((walk for walk in walks if _last(walk, FEW + 1, using=using) is None), None)
    if few is None and "type" in columns and (ids := _few_of(columns["type"], using=using)) is not None:
        few = replace(walks[-1], ids=ids)
    return few or walks[0]


def _few_of(kind: str, *, using: str) -> list[UUID] | None:
    """All letters of a type, of whichever state; None where there are more. Its index has no order."""
    found = DeadLetter.objects.using(using).filter(type=kind).order_by().values_list("id", flat=True)
    ids = list(found[: FEW + 1])
    return ids if len(ids) <= FEW else None
