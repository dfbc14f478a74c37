"""Reads of dead letters and parked keys: bounded, whatever there is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections

from dashboard.formats import Bounded
from dashboard.letters.filters import Asked, Place
from dashboard.letters.walks import KEPT_OUT, fitting
from outbox.models import DeadLetter, LetterState, ParkedKey
from outbox.repair.behind import MOST_WAITING, NOTHING, behind, numbers

PAGE_SIZE = 50

_BEHIND = """
SELECT parked.event_id, parked.consumer, parked.generation, (
    SELECT count(*) FROM (
        SELECT FROM outbox_waiting_event AS waiting
        WHERE (waiting.consumer, waiting.generation, waiting.topic, waiting.key)
            = (parked.consumer, parked.generation, parked.topic, parked.key)
        LIMIT %s
    ) AS counted
) FROM unnest(%s::text[], %s::smallint[], %s::text[], %s::text[], %s::uuid[])
    AS letter (consumer, generation, topic, key, event_id)
JOIN outbox_parked_key AS parked USING (consumer, generation, topic, key, event_id)
"""
_KEY_COLUMNS = ("consumer", "generation", "topic", "key", "event_id")


def first_line(letter: DeadLetter) -> str:
    """The beginning of the error of a letter of a list."""
    begins: str = letter.begins  # type: ignore[attr-defined]
    return begins.partition("\n")[0]


def waiting_behind(letters: Iterable[DeadLetter], *, using: str = DEFAULT_DB_ALIAS) -> dict[UUID, Bounded]:
    """How many events wait behind each letter that holds its key, counted up to MOST_WAITING."""
    keyed = [letter for letter in letters if letter.key is not None and letter.state == LetterState.OPEN]
    if not keyed:
        return {}
    columns = [[str(getattr(letter, name)) for letter in keyed] for name in _KEY_COLUMNS]
    with connections[using].cursor() as sql:
        sql.execute(_BEHIND, [MOST_WAITING + 1, *columns])
        counted = {tuple(row[:3]): Bounded.upto(MOST_WAITING, row[3]) for row in sql.fetchall()}
    named = ((letter.id, (letter.event_id, letter.consumer, letter.generation)) for letter in keyed)
    return {letter_id: counted[name] for letter_id, name in named if name in counted}


@dataclass(frozen=True, slots=True)
class Page:
    """Letters, the latest first, with what waits behind them, and the places beside the page.

    until  back to when it looked, where it gave up looking before the page was full
    """

    letters: list[DeadLetter]
    waiting: dict[UUID, Bounded]
    newer: Place | None = None
    older: Place | None = None
    until: datetime | None = None


def page_of(
    asked: Asked, *, before: Place | None = None, after: Place | None = None, using: str = DEFAULT_DB_ALIAS
) -> Page:
    """A page of letters, older than one place or newer than another."""
    upwards = after is not None
    found = fitting(asked, PAGE_SIZE + 1, place=after or before, upwards=upwards, using=using)
    shown, stopped = found.letters[:PAGE_SIZE], found.stopped
    if not shown and stopped is None:
        return Page([], {})
    more = len(found.letters) > PAGE_SIZE
    waiting = waiting_behind(shown, using=using)
    if upwards:
        shown.reverse()
        newer = Place.of(shown[0]) if more else stopped
        return Page(shown, waiting, newer=newer, older=Place.of(shown[-1]) if shown else after)
    first = Place.of(shown[0]) if shown else before
    return Page(
        shown,
        waiting,
        newer=None if before is None else first,
        older=Place.of(shown[-1]) if more else stopped,
        until=None if stopped is None else stopped.at,
    )


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked key: what holds it, and what waits.

    missing  the numbers that it waits for, where it is a gap; none where it can go on
    letter   the dead letter that holds it
    """

    row: ParkedKey
    waiting: Bounded
    missing: range = range(0)
    letter: DeadLetter | None = None

    @property
    def missing_text(self) -> str:
        """The numbers in words."""
        return numbers(self.missing)


def parked_of(rows: Sequence[ParkedKey], *, using: str = DEFAULT_DB_ALIAS) -> list[Parked]:
    """All that is known about parked keys, in two reads; behind one released meanwhile nothing waits."""
    known = behind([row.id for row in rows], using=using)
    open_ones = DeadLetter.objects.using(using).defer(*KEPT_OUT).filter(state=LetterState.OPEN)
    holding = {
        (letter.consumer, letter.generation, letter.event_id): letter
        for letter in open_ones.filter(event_id__in=[row.event_id for row in rows])
    }
    found = []
    for row in rows:
        what = known.get(row.id, NOTHING)
        letter = holding.get((row.consumer, row.generation, row.event_id))
        found.append(Parked(row, what.waiting, what.missing if letter is None else range(0), letter))
    return found
