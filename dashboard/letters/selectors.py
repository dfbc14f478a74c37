"""Reads of dead letters and parked keys: bounded, whatever there is."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Left

from dashboard.formats import Bounded
from dashboard.letters.filters import Asked, Place
from outbox.models import DeadLetter, LetterState, ParkedKey
from outbox.repair.behind import MOST_WAITING, NOTHING, behind, numbers

GROUPED = 2_000  # the latest letters that are grouped
# Of groups that none of these is of so many are looked for, and so many letters of each.
OLDER_CAUSES, OLDER_LETTERS = 200, 50
PAGE_SIZE = 50
LINE = 200  # characters of an error that a list shows
KEPT_OUT = ("error", "payload", "headers", "raw_key", "traceback", "correction")

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
# Each step is a probe of the index of groups, however many letters are of one; only the filters that a kind
# does not decide are asked of its letters.
_OLDER = """
WITH RECURSIVE kind AS (
    (SELECT consumer, fingerprint, cause FROM outbox_dead_letter WHERE state = %(state)s
        ORDER BY consumer, fingerprint, cause LIMIT 1)
    UNION ALL
    SELECT next.consumer, next.fingerprint, next.cause FROM kind CROSS JOIN LATERAL (
        SELECT consumer, fingerprint, cause FROM outbox_dead_letter AS letter
        WHERE letter.state = %(state)s
            AND (letter.consumer, letter.fingerprint, letter.cause)
                > (kind.consumer, kind.fingerprint, kind.cause)
        ORDER BY letter.consumer, letter.fingerprint, letter.cause LIMIT 1
    ) AS next
)
SELECT latest.ids FROM kind CROSS JOIN LATERAL (
    SELECT array_agg(one.id) AS ids FROM (
        SELECT id FROM outbox_dead_letter AS letter
        WHERE letter.state = %(state)s AND letter.consumer = kind.consumer
            AND letter.fingerprint = kind.fingerprint AND letter.cause = kind.cause
            AND (%(type)s::text IS NULL OR letter.type = %(type)s)
            AND (%(key)s::text IS NULL OR letter.key = %(key)s)
            AND letter.died_at >= coalesce(%(since)s::timestamptz, '-infinity')
            AND letter.died_at < coalesce(%(until)s::timestamptz, 'infinity')
        ORDER BY letter.died_at DESC, letter.id DESC LIMIT %(letters)s
    ) AS one
) AS latest
WHERE (%(consumer)s::text IS NULL OR kind.consumer = %(consumer)s)
    AND (%(fingerprint)s::text IS NULL OR kind.fingerprint = %(fingerprint)s)
    AND (%(cause)s::text IS NULL OR kind.cause = %(cause)s)
    AND (kind.consumer, kind.cause, kind.fingerprint)
        NOT IN (SELECT * FROM unnest(%(consumers)s::text[], %(causes)s::text[], %(fingerprints)s::text[]))
    AND latest.ids IS NOT NULL
LIMIT %(kinds)s
"""
_FIRST = """
SELECT kind.consumer, kind.cause, kind.fingerprint, letter.died_at
FROM unnest(%s::text[], %s::text[], %s::text[]) AS kind (consumer, cause, fingerprint) CROSS JOIN LATERAL (
    SELECT died_at FROM outbox_dead_letter AS one WHERE one.fingerprint = kind.fingerprint AND one.state = %s
        AND one.consumer = kind.consumer AND one.cause = kind.cause ORDER BY died_at, id LIMIT 1
) AS letter
"""
_KEY_COLUMNS = ("consumer", "generation", "topic", "key", "event_id")


@dataclass
class Group:
    """Dead letters of one consumer that died of one thing; the sample is the latest error's first line.

    count    how many of those that were looked at, and `more` when there may be others
    keys     how many keys they hold
    waiting  how many events wait behind those keys
    """

    consumer: str
    cause: str
    fingerprint: str
    sample: str
    first: datetime
    last: datetime
    count: int = 0
    more: bool = False
    keys: int = 0
    waiting: int = 0
    waiting_more: bool = False
    types: Counter[str] = field(default_factory=Counter)

    @property
    def id(self) -> str:
        """Of its row on the page."""
        return f"g-{self.consumer}-{self.fingerprint}-{self.cause}".replace(" ", "-")

    @property
    def counted(self) -> Bounded:
        """How many there are, or at least."""
        return Bounded(self.count, self.more)

    @property
    def behind(self) -> Bounded:
        """How many wait, or at least."""
        return Bounded(self.waiting, self.waiting_more)


@dataclass(frozen=True, slots=True)
class Groups:
    """Letters by their cause; `cut` when there are more than were looked at.

    lacking  whether there are older causes that are not among them
    """

    groups: list[Group]
    count: Bounded
    lacking: bool = False

    @property
    def cut(self) -> bool:
        """Whether older ones were left out."""
        return self.count.more

    @property
    def older(self) -> int:
        """Of how many older causes there are some, where not of all."""
        return OLDER_CAUSES


def letters_of(asked: Asked, *, using: str = DEFAULT_DB_ALIAS) -> QuerySet[DeadLetter]:
    """The letters that are asked for, without what only one letter's page shows; the latest first."""
    letters = DeadLetter.objects.using(using).defer(*KEPT_OUT).annotate(begins=Left("error", LINE))
    return letters.filter(**asked.columns()).order_by("-died_at", "-id")


def first_line(letter: DeadLetter) -> str:
    """The beginning of the error of a letter of a list."""
    begins: str = letter.begins  # type: ignore[attr-defined]
    return begins.partition("\n")[0]


def groups_of(asked: Asked, *, using: str = DEFAULT_DB_ALIAS) -> Groups:
    """The letters that match, by consumer, cause and fingerprint; the largest group first.

    The latest GROUPED, and where there are more some of each older cause, OLDER_CAUSES at most: none vanishes
    behind newer ones.
    """
    found = list(letters_of(asked, using=using)[: GROUPED + 1])
    looked_at, is_cut, lacking = found[:GROUPED], len(found) > GROUPED, False
    if is_cut:
        older, lacking = _of_older_causes(asked, looked_at, using=using)
        looked_at += older
    waiting = waiting_behind(looked_at, using=using)
    groups: dict[tuple[str, str, str], Group] = {}
    for letter in looked_at:
        name = (letter.consumer, letter.cause, letter.fingerprint)
        group = groups.get(name)
        if group is None:
            line = first_line(letter)
            group = groups[name] = Group(*name, line, letter.died_at, letter.died_at)
        group.count += 1
        group.more = is_cut
        group.first = letter.died_at
        group.types[letter.type] += 1
        if letter.id in waiting:
            behind = waiting[letter.id]
            group.keys += 1
            group.waiting += behind.count
            group.waiting_more |= behind.more
    if is_cut:
        _look_for_the_first(groups, asked, using=using)
    ordered = sorted(groups.values(), key=lambda group: (-group.count, group.consumer, group.cause))
    return Groups(ordered, Bounded.upto(GROUPED, len(found)), lacking)


def _of_older_causes(asked: Asked, newer: list[DeadLetter], *, using: str) -> tuple[list[DeadLetter], bool]:
    """The latest letters of groups that none of the newer ones is of, the latest first.

    Of OLDER_CAUSES groups; and whether there are more.
    """
    wanted = asked.columns()
    known = {(letter.consumer, letter.cause, letter.fingerprint) for letter in newer}
    consumers, causes, fingerprints = (list(column) for column in zip(*known, strict=True))
    given = {name: wanted.get(name) for name in ("consumer", "cause", "fingerprint", "type", "key", "state")}
    given |= {"since": wanted.get("died_at__gte"), "until": wanted.get("died_at__lt")}
    given |= {"consumers": consumers, "causes": causes, "fingerprints": fingerprints}
    with connections[using].cursor() as sql:
        sql.execute(_OLDER, {**given, "letters": OLDER_LETTERS, "kinds": OLDER_CAUSES + 1})
        found = [ids for (ids,) in sql.fetchall()]
    ids = [letter_id for group in found[:OLDER_CAUSES] for letter_id in group]
    return list(letters_of(asked, using=using).filter(id__in=ids)), len(found) > OLDER_CAUSES


def _look_for_the_first(groups: dict[tuple[str, str, str], Group], asked: Asked, *, using: str) -> None:
    """Since when letters have died of this: of all there are, where the filters name no time."""
    if not groups or "died_at__gte" in asked.columns():
        return
    with connections[using].cursor() as sql:
        sql.execute(_FIRST, [*([name[at] for name in groups] for at in range(3)), asked.state])
        for *name, died_at in sql.fetchall():
            groups[name[0], name[1], name[2]].first = died_at


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
    """Letters, the latest first, with what waits behind them, and the places beside the page."""

    letters: list[DeadLetter]
    waiting: dict[UUID, Bounded]
    newer: Place | None = None
    older: Place | None = None


def page_of(
    asked: Asked, *, before: Place | None = None, after: Place | None = None, using: str = DEFAULT_DB_ALIAS
) -> Page:
    """A page of letters, older than one place or newer than another."""
    letters = letters_of(asked, using=using)
    if after is not None:
        newer = Q(died_at__gt=after.at) | Q(id__gt=after.id)
        letters = letters.filter(newer, died_at__gte=after.at).reverse()
    elif before is not None:
        older = Q(died_at__lt=before.at) | Q(id__lt=before.id)
        letters = letters.filter(older, died_at__lte=before.at)
    found = list(letters[: PAGE_SIZE + 1])
    shown, more = found[:PAGE_SIZE], len(found) > PAGE_SIZE
    if after is not None:
        shown.reverse()
    if not shown:
        return Page([], {})
    has_newer, has_older = (more, True) if after is not None else (before is not None, more)
    return Page(
        shown,
        waiting_behind(shown, using=using),
        newer=Place.of(shown[0]) if has_newer else None,
        older=Place.of(shown[-1]) if has_older else None,
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
