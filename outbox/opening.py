"""Opening a window: its end, and all of its rows where they are few, in one question.

A relay without a backlog asks nothing else, many times a second. Where the session is its own the question is
prepared: to plan it takes PostgreSQL longer than to answer it, the more so the more partitions there are.
"""

from typing import Any

from django.db import connections

from outbox.sessions import is_own
from outbox.window import OutboxRecord, Snapshot, WindowPage, columns_as_sent, fetch

# Rows that are read along. More are pages, by position.
FEW = 200

# A statement sees what its own snapshot sees: all of these rows belong to the window that ends with it. Each
# scan is asked for an order that the index on (txid, position) has, or a prepared plan might look through
# whole partitions.
_NEW = f"(SELECT * FROM outbox_event WHERE txid >= %(after)s::xid8 ORDER BY txid, position LIMIT {FEW + 1})"
_LATE = f"""
    UNION ALL
    (SELECT event.* FROM unnest(%(late)s::xid8[]) AS ended CROSS JOIN LATERAL (
        SELECT * FROM outbox_event WHERE txid = ended ORDER BY txid, position LIMIT {FEW + 1}
    ) AS event WHERE pg_visible_in_snapshot(ended, pg_current_snapshot()) LIMIT {FEW + 1})"""
# Payloads are not touched until it is known how large they are.
_OPEN = f"""
WITH few AS MATERIALIZED ({{rows}}), size AS (
    SELECT count(*) <= {FEW} AND coalesce(sum(octet_length(payload)), 0) <= %(size)s AS small FROM few
)
SELECT pg_current_snapshot()::text::varchar, small, {columns_as_sent("few")}
FROM size LEFT JOIN few ON small AND shard = ANY(%(shards)s)
ORDER BY position"""
# Where nothing was under way nobody asks for it: to look in each partition takes as long again.
_QUESTIONS = {late: _OPEN.format(rows=_NEW + _LATE * late) for late in (False, True)}


class Opener:
    """Opens windows on this thread's connection."""

    def __init__(self, *, size: int, using: str) -> None:
        """size: bytes of payload that may be read along."""
        self._size = size
        self._using = using
        wrapper = connections[using]
        wrapper.ensure_connection()
        with wrapper.wrap_database_errors:
            self._prepared = is_own(wrapper.connection)

    def open(self, previous: Snapshot, *, shards: list[int]) -> tuple[Snapshot, WindowPage | None]:
        """What is committed now, and what of it `previous` did not see; None where that is a lot."""
        parameters: dict[str, Any] = {
            "after": previous.xmax,
            "late": previous.in_progress,
            "shards": shards,
            "size": self._size,
        }
        question = _QUESTIONS[bool(previous.in_progress)]
        rows = fetch(question, parameters, using=self._using, prepare=self._prepared)
        current, small = Snapshot(rows[0][0]), rows[0][1]
        if not small:
            return current, None
        records = [OutboxRecord._make(row[2:]) for row in rows if row[2] is not None]
        return current, WindowPage(records, last=True)
