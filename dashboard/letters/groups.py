"""Dead letters by what they died of: bounded, whatever there is."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from dashboard.formats import Bounded
from dashboard.letters.filters import Asked
from dashboard.letters.selectors import first_line, waiting_behind
from dashboard.letters.walks import fitting, letters_of
from outbox.models import DeadLetter
from outbox.walking import in_index_order

GROUPED = 2_000  # the latest letters that are grouped
# Of groups that none of these is of so many are looked for, and so many letters of each.
OLDER_CAUSES, OLDER_LETTERS = 200, 50
# So many groups are walked past, and so many letters of each where their type or key is asked for.
WALKED_CAUSES, WALKED_LETTERS = 500, 200
EACH, SOME = "each older cause", "older causes"

# Each step is a probe of the index of groups, however many letters are of one.
_KINDS = """
WITH RECURSIVE kind AS (
    (SELECT consumer, fingerprint, cause FROM outbox_dead_letter AS letter WHERE state = %(state)s {among}
        ORDER BY consumer, fingerprint, cause LIMIT 1)
    UNION ALL
    SELECT next.consumer, next.fingerprint, next.cause FROM kind CROSS JOIN LATERAL (
        SELECT consumer, fingerprint, cause FROM outbox_dead_letter AS letter
        WHERE letter.state = %(state)s {among}
            AND (letter.consumer, letter.fingerprint, letter.cause)
                > (kind.consumer, kind.fingerprint, kind.cause)
        ORDER BY letter.consumer, letter.fingerprint, letter.cause LIMIT 1
    ) AS next
)
SELECT consumer, cause, fingerprint FROM kind LIMIT %(walked)s
"""
# In the order of the index of groups, which no other has. Only the filters that a kind does not decide are
# asked of its letters.
_OLDER = """
SELECT latest.ids
FROM unnest(%(consumers)s::text[], %(causes)s::text[], %(fingerprints)s::text[])
    AS kind (consumer, cause, fingerprint) CROSS JOIN LATERAL (
    SELECT array_agg(one.id) AS ids FROM (
        SELECT id FROM (
            SELECT id, type, key, died_at FROM outbox_dead_letter AS letter
            WHERE state = %(state)s
                AND (letter.consumer, letter.fingerprint, letter.cause, died_at) >= (kind.consumer,
                    kind.fingerprint, kind.cause, coalesce(%(since)s::timestamptz, '-infinity'))
                AND (letter.consumer, letter.fingerprint, letter.cause, died_at) < (kind.consumer,
                    kind.fingerprint, kind.cause, coalesce(%(until)s::timestamptz, 'infinity'))
            ORDER BY letter.consumer DESC, letter.fingerprint DESC, letter.cause DESC, died_at DESC, id DESC
            LIMIT %(each)s
        ) AS near
        WHERE (%(type)s::text IS NULL OR type = %(type)s) AND (%(key)s::text IS NULL OR key = %(key)s)
        ORDER BY died_at DESC, id DESC LIMIT %(letters)s
    ) AS one
) AS latest
WHERE latest.ids IS NOT NULL LIMIT %(kinds)s
"""
_FIRST = """
SELECT kind.consumer, kind.cause, kind.fingerprint, letter.died_at
FROM unnest(%s::text[], %s::text[], %s::text[]) AS kind (consumer, cause, fingerprint) CROSS JOIN LATERAL (
    SELECT died_at FROM outbox_dead_letter AS one WHERE one.fingerprint = kind.fingerprint AND one.state = %s
        AND one.consumer = kind.consumer AND one.cause = kind.cause ORDER BY died_at, id LIMIT 1
) AS letter
"""


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

    older    of which older causes there are some among them, in words
    stopped  whether looking for more that fit was given up
    """

    groups: list[Group]
    count: Bounded
    older: str = EACH
    stopped: bool = False

    @property
    def cut(self) -> bool:
        """Whether older ones were left out."""
        return self.count.more


def groups_of(asked: Asked, *, using: str = DEFAULT_DB_ALIAS) -> Groups:
    """The letters that match, by consumer, cause and fingerprint; the largest group first.

    The latest GROUPED of those that were looked at, and where there are more some of each older cause,
    OLDER_CAUSES at most: none vanishes behind newer ones.
    """
    found = fitting(asked, GROUPED + 1, using=using)
    looked_at, stopped, older = found.letters[:GROUPED], found.stopped is not None, EACH
    is_cut = stopped or len(found.letters) > GROUPED
    if is_cut:
        more, older = _of_older_causes(asked, looked_at, using=using)
        looked_at += more
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
    return Groups(ordered, Bounded(min(len(found.letters), GROUPED), is_cut), older, stopped)


def _of_older_causes(asked: Asked, newer: list[DeadLetter], *, using: str) -> tuple[list[DeadLetter], str]:
    """The latest letters of groups that none of the newer ones is of, the latest first; and of which."""
    wanted = asked.columns()
    known = {(letter.consumer, letter.cause, letter.fingerprint) for letter in newer}
    kinds = _kinds(asked, using=using)
    others = [kind for kind in kinds if kind not in known and _may_fit(kind, wanted)]
    if not others:
        return [], EACH if len(kinds) < WALKED_CAUSES else SOME
    narrows = "type" in wanted or "key" in wanted
    given = {name: wanted.get(name) for name in ("type", "key", "state")}
    given |= {"since": wanted.get("died_at__gte"), "until": wanted.get("died_at__lt")}
    given |= {
        name: [kind[at] for kind in others] for at, name in enumerate(("consumers", "causes", "fingerprints"))
    }
    given |= {"each": WALKED_LETTERS if narrows else OLDER_LETTERS, "letters": OLDER_LETTERS}
    with in_index_order(using=using), connections[using].cursor() as sql:
        sql.execute(_OLDER, {**given, "kinds": OLDER_CAUSES + 1})
        found = [ids for (ids,) in sql.fetchall()]
    ids = [letter_id for group in found[:OLDER_CAUSES] for letter_id in group]
    letters = letters_of(ids, using=using)
    if len(found) > OLDER_CAUSES:
        return letters, f"{OLDER_CAUSES} older causes"
    return letters, SOME if narrows or len(kinds) == WALKED_CAUSES else EACH


def _kinds(asked: Asked, *, using: str) -> list[tuple[str, str, str]]:
    """What letters of this state, and of this consumer, have died of; WALKED_CAUSES at most."""
    consumer = asked.get("consumer")
    among = "" if consumer is None else "AND letter.consumer = %(consumer)s"
    with in_index_order(using=using), connections[using].cursor() as sql:
        given = {"state": asked.state, "consumer": consumer, "walked": WALKED_CAUSES}
        sql.execute(_KINDS.format(among=among), given)
        return [tuple(row) for row in sql.fetchall()]


def _may_fit(kind: tuple[str, str, str], wanted: dict[str, Any]) -> bool:
    _, cause, fingerprint = kind
    return bool(wanted.get("cause", cause) == cause and wanted.get("fingerprint", fingerprint) == fingerprint)


def _look_for_the_first(groups: dict[tuple[str, str, str], Group], asked: Asked, *, using: str) -> None:
    """Since when letters have died of this: of all there are, where the filters name no time."""
    if not groups or "died_at__gte" in asked.columns():
        return
    with connections[using].cursor() as sql:
        sql.execute(_FIRST, [*([name[at] for name in groups] for at in range(3)), asked.state])
        for *name, died_at in sql.fetchall():
            groups[name[0], name[1], name[2]].first = died_at
