"""The outbox's backlog: what no relay has moved past yet, read from the relays' cursors."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connections

from outbox.ids import time_of
from outbox.keys import SHARDS
from outbox.window import Snapshot

# Of a large backlog the first events tell.
LIMIT = 1_000

# A shard without a row has yet to be relayed.
_CURSORS = """
SELECT coalesce(previous, '3:3:')::text, coalesce(position, 0), array_agg(every.one)
FROM generate_series(0, %s) AS every (one) LEFT JOIN outbox_shard ON shard = every.one GROUP BY 1, 2
"""
# Between windows (position 0) what is new is found by transaction, within a window by position.
_NEW = """
SELECT topic, occurred_at, id FROM outbox_event
WHERE txid >= %s::xid8 AND position > %s AND shard = ANY(%s) ORDER BY {} LIMIT {}
"""
_LATE = """
SELECT topic, occurred_at, id FROM outbox_event
WHERE txid = ANY(%s::xid8[]) AND position > %s AND shard = ANY(%s) LIMIT {}
"""


@dataclass(frozen=True, slots=True)
class Oldest:
    """Of a topic's events that are yet to be sent: when the first happened, by which consumers are late; and
    since when the first has waited, by which the relay is.
    """

    happened_at: datetime
    waits_since: datetime


def oldest_unpublished(*, using: str) -> dict[str, Oldest]:
    """The oldest event of each topic that is yet to be sent; topics without one are left out.

    Looks at the first LIMIT events behind each cursor: its cost does not grow with the backlog.
    """
    found: dict[str, Oldest] = {}
    with connections[using].cursor() as sql:
        sql.execute(_CURSORS, [SHARDS - 1])
        for previous, position, shards in sql.fetchall():
            snapshot = Snapshot(previous)
            by = "position" if position else "txid"
            sql.execute(_NEW.format(by, LIMIT), [snapshot.xmax, position, shards])
            behind = sql.fetchall()
            if snapshot.in_progress:
                sql.execute(_LATE.format(LIMIT), [snapshot.in_progress, position, shards])
                behind += sql.fetchall()
            for topic, happened, event_id in behind:
                written = time_of(event_id)
                first = found.get(topic, Oldest(happened, written))
                found[topic] = Oldest(min(first.happened_at, happened), min(first.waits_since, written))
    return found
