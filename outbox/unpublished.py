"""The outbox's backlog: what no relay has moved past yet, read from the relays' cursors as they read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections

from outbox.ids import time_of
from outbox.keys import SHARDS
from outbox.window import Snapshot

# However many wait behind one cursor, so many behind each of the others are looked at.
AT_LEAST = 1_000

# Shards that share a cursor are read together. One without a row has yet to be relayed.
_CURSORS = """
SELECT coalesce(previous, '3:3:')::text, coalesce(position, 0), array_agg(every.one)
FROM generate_series(0, %s) AS every (one) LEFT JOIN outbox_shard ON shard = every.one
GROUP BY 1, 2 ORDER BY 1, 2
"""
# Between windows (position 0) what is new is found by transaction, within a window by position: either range
# is the backlog itself, at any size of the table.
_NEW = """
SELECT id, topic, occurred_at FROM outbox_event
WHERE txid >= %s::xid8 AND position > %s AND shard = ANY(%s) ORDER BY {} LIMIT %s
"""
_LATE = """
SELECT id, topic, occurred_at FROM outbox_event
WHERE txid = ANY(%s::xid8[]) AND position > %s AND shard = ANY(%s) LIMIT %s
"""


class Unpublished(NamedTuple):
    """An event that is yet to be sent."""

    id: UUID
    topic: str
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Oldest:
    """Of a topic's events that are yet to be sent: when the first happened, by which consumers are late; and
    since when the first has waited, by which the relay is.
    """

    happened_at: datetime
    waits_since: datetime


def unpublished(*, limit: int, using: str = DEFAULT_DB_ALIAS) -> list[Unpublished]:
    """Events that no relay has moved past yet: up to `limit`, and besides the first AT_LEAST of each cursor.

    Its cost does not grow with the backlog.
    """
    found: list[Unpublished] = []
    with connections[using].cursor() as sql:
        sql.execute(_CURSORS, [SHARDS - 1])
        for previous, position, shards in sql.fetchall():
            seen, most = Snapshot(previous), max(limit - len(found), AT_LEAST)
            sql.execute(_NEW.format("position" if position else "txid"), [seen.xmax, position, shards, most])
            found += map(Unpublished._make, sql.fetchall())
            if seen.in_progress:
                sql.execute(_LATE, [seen.in_progress, position, shards, most])
                found += map(Unpublished._make, sql.fetchall())
    return found


def oldest_of(events: Iterable[Unpublished]) -> dict[str, Oldest]:
    """The oldest of each topic; topics without one are left out."""
    found: dict[str, Oldest] = {}
    for event_id, topic, happened in events:
        written = time_of(event_id)
        first = found.get(topic, Oldest(happened, written))
        found[topic] = Oldest(min(first.happened_at, happened), min(first.waits_since, written))
    return found


def oldest_unpublished(*, using: str) -> dict[str, Oldest]:
    """The oldest event of each topic that is yet to be sent, of the first ones behind each cursor."""
    return oldest_of(unpublished(limit=0, using=using))
