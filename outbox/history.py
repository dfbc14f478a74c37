"""What one generation of a projection has moved past and another has not, by their inboxes.

Kafka's offsets do not tell: a group's expire, and a topic that was made anew counts from zero again.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import connections

from outbox.registry import Consumer

_LATEST_ONLY_OF = """
SELECT max(mine.occurred_at) FROM outbox_inbox AS mine
WHERE mine.consumer = %(consumer)s AND mine.generation = %(mine)s
    AND mine.processed_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND mine.processed_at < coalesce(%(until)s::timestamptz, 'infinity')
    AND mine.occurred_at < coalesce(%(before)s::timestamptz, 'infinity')
    AND NOT EXISTS (
        SELECT FROM outbox_inbox AS theirs WHERE theirs.event_id = mine.event_id
            AND theirs.consumer = %(consumer)s AND theirs.generation = %(theirs)s
    )
"""
_DAYS = """
SELECT DISTINCT date_trunc('day', occurred_at, 'UTC') FROM outbox_inbox
WHERE consumer = %(consumer)s AND generation = ANY(%(generations)s) AND processed_at >= %(since)s
    AND occurred_at < %(before)s ORDER BY 1
"""
_HAS_BEGUN = """
SELECT EXISTS (SELECT FROM outbox_inbox WHERE consumer = %(consumer)s AND generation = %(mine)s)
    OR EXISTS (SELECT FROM outbox_key_progress WHERE consumer = %(consumer)s AND generation = %(mine)s)
"""
_HAS_OTHER_KEYS = """
SELECT EXISTS (
    SELECT FROM outbox_key_progress AS mine WHERE consumer = %(consumer)s AND generation = %(mine)s
        AND NOT EXISTS (
            SELECT FROM outbox_key_progress AS theirs WHERE theirs.consumer = %(consumer)s
                AND theirs.generation = %(theirs)s AND theirs.topic = mine.topic AND theirs.key = mine.key
        )
        AND NOT EXISTS (
            SELECT FROM outbox_parked_key AS parked WHERE parked.consumer = %(consumer)s
                AND parked.generation = %(theirs)s AND parked.topic = mine.topic AND parked.key = mine.key
        )
        AND NOT EXISTS (
            SELECT FROM outbox_inbox AS fresh WHERE fresh.consumer = %(consumer)s
                AND fresh.generation = %(mine)s AND fresh.processed_at >= %(until)s
                AND fresh.topic = mine.topic AND fresh.key = mine.key
        )
)
"""


def latest_only_of(
    consumer: Consumer,
    mine: int,
    *,
    but_not: int,
    before: datetime | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> datetime | None:
    """When the latest event happened that generation `mine` has moved past, and the other has not; None when
    there is none.

    before  looks only at what happened before; None for all
    since   looks only at what was processed since, which is little to read; None for all
    until   looks only at what was processed before; None for all
    """
    latest: datetime | None = _asked(
        consumer, _LATEST_ONLY_OF, mine=mine, theirs=but_not, before=before, since=since, until=until
    )
    return latest


def days_before(
    consumer: Consumer, generations: Collection[int], *, before: datetime, since: datetime
) -> list[datetime]:
    """The days of UTC before `before` that any of these generations has come to since `since`."""
    with connections[consumer.using].cursor() as sql:
        sql.execute(
            _DAYS,
            {
                "consumer": consumer.name,
                "generations": list(generations),
                "before": before,
                "since": since,
            },
        )
        return [day for (day,) in sql.fetchall()]


def has_begun(consumer: Consumer, mine: int) -> bool:
    """Whether the generation has moved past anything."""
    return bool(_asked(consumer, _HAS_BEGUN, mine=mine))


def has_keys_only_of(consumer: Consumer, mine: int, *, but_not: int, until: datetime) -> bool:
    """Whether the generation knows keys that the other never came to, also where its inbox was shortened.

    Keys to which it has come since `until` do not count.
    """
    return bool(_asked(consumer, _HAS_OTHER_KEYS, mine=mine, theirs=but_not, until=until))


def _asked(consumer: Consumer, question: str, **who: Any) -> Any:
    with connections[consumer.using].cursor() as sql:
        sql.execute(question, {"consumer": consumer.name, **who})
        return sql.fetchone()[0]
