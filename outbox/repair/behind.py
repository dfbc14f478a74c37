"""What waits behind parked keys: how many events, and which numbers are missing before them."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet

from outbox.bounded import Bounded
from outbox.models import WaitingEvent

MOST_WAITING = 100  # events counted behind one key

# The first waiting number that is above the one that the key has come to is a probe of an index.
_BEHIND = """
SELECT parked.id, parked.cause = 'gap', coalesce(progress.number, 0), first.number, waiting.many
FROM outbox_parked_key AS parked
LEFT JOIN outbox_key_progress AS progress USING (consumer, generation, topic, key)
LEFT JOIN LATERAL (
    SELECT number FROM outbox_waiting_event AS event
    WHERE event.consumer = parked.consumer AND event.generation = parked.generation
        AND event.topic = parked.topic AND event.key = parked.key
        AND event.number > coalesce(progress.number, 0)
    ORDER BY number LIMIT 1
) AS first ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS many FROM (
        SELECT FROM outbox_waiting_event AS event
        WHERE event.consumer = parked.consumer AND event.generation = parked.generation
            AND event.topic = parked.topic AND event.key = parked.key LIMIT %s
    ) AS counted
) AS waiting
WHERE parked.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Behind:
    """What waits behind a parked key, counted up to MOST_WAITING.

    missing  the numbers that it waits for, where it is a gap; none where it can go on
    """

    waiting: Bounded
    missing: range


NOTHING = Behind(Bounded(0), range(0))


def behind(parked_ids: Iterable[UUID], *, using: str = DEFAULT_DB_ALIAS) -> dict[UUID, Behind]:
    """What waits behind these keys, in one read. One that has been released meanwhile is not there."""
    with connections[using].cursor() as sql:
        sql.execute(_BEHIND, [MOST_WAITING + 1, list(parked_ids)])
        return {
            parked_id: Behind(
                Bounded.upto(MOST_WAITING, many), missing_before(first, reached) if is_gap else range(0)
            )
            for parked_id, is_gap, reached, first, many in sql.fetchall()
        }


def counted(waiting: QuerySet[WaitingEvent]) -> Bounded:
    """How many they are, counted up to MOST_WAITING."""
    return Bounded.upto(MOST_WAITING, waiting[: MOST_WAITING + 1].count())


def missing_before(first: int | None, reached: int) -> range:
    """The numbers between the one that a key has come to and the first that waits; none without that."""
    return range(0) if first is None else range(reached + 1, first)


def numbers(missing: range) -> str:
    """In words: number 2, or numbers 4 to 5; nothing for none."""
    if not missing:
        return ""
    first, last = missing[0], missing[-1]
    return f"number {first:,}" if first == last else f"numbers {first:,} to {last:,}"


def mark(missing: range) -> str:
    """As a form holds them: 4-5, or - for none."""
    return f"{missing[0]}-{missing[-1]}" if missing else "-"


def marked(text: str) -> range:
    """The numbers that a form held. Raises ValueError for what is no mark."""
    first, last = text.split("-")
    return range(int(first), int(last) + 1) if text != "-" else range(0)
