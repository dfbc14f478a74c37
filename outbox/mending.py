"""The relay's part in mending: what was refused is sent again when an operator has asked for it."""

import logging
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.db import connections, transaction

from outbox.context import within
from outbox.lease import Leases
from outbox.pages import Key, Page
from outbox.recorder import write_traces
from outbox.window import OutboxRecord, columns_as_sent, fetch

logger = logging.getLogger(__name__)

DISCARDED = b"outbox.EventDiscarded.v1"
MOST = 500

# The whole key when anything of it was asked for: it goes out in order. Without a key each stands for itself.
_REQUESTED = f"""
SELECT {columns_as_sent("event")}, event.shard, refusal.discarded,
    (SELECT max(requested_at) FROM outbox_refusal AS asked
        WHERE asked.event_id = refusal.event_id OR (asked.topic, asked.key) = (refusal.topic, refusal.key))
FROM outbox_refusal AS refusal JOIN outbox_event AS event ON event.id = refusal.event_id
WHERE event.shard = ANY(%(shards)s) AND (
    (refusal.key IS NULL AND refusal.requested_at IS NOT NULL)
    OR (refusal.topic, refusal.key) IN (SELECT topic, key FROM outbox_refusal WHERE requested_at IS NOT NULL)
) ORDER BY event.position LIMIT %(limit)s
"""


class Requested(NamedTuple):
    """An event that is to be sent after all, as was last asked `at`.

    `record` is the placeholder when it was discarded.
    """

    record: OutboxRecord
    shard: int
    at: datetime

    @property
    def key(self) -> Key | None:
        """The key that it holds."""
        return None if self.record.key is None else (self.record.topic, self.record.key)


def requested(leases: Leases) -> list[Requested]:
    """What an operator has asked for in the shards held, in the order in which it is to be sent."""
    rows = fetch(_REQUESTED, {"shards": leases.shards, "limit": MOST}, using=leases.using)
    found = []
    for *fields, shard, reason, at in rows:
        record = OutboxRecord._make(fields)
        found.append(Requested(_placeholder(record, reason) if reason else record, shard, at))
    return found


def _placeholder(record: OutboxRecord, reason: bytes) -> OutboxRecord:
    data = msgspec.json.encode({"type": record.type.decode(), "reason": reason.decode()})
    return record._replace(type=DISCARDED, content_type=b"application/json", payload=data)


def sent(one: Requested, page: Page, *, leases: Leases) -> None:
    """Keep that Kafka has it now, as the traces of its page say. Raises LeaseLost."""
    record = one.record
    with transaction.atomic(using=leases.using):
        leases.guard()
        write_traces([page], using=leases.using)
        with connections[leases.using].cursor() as sql:
            sql.execute("DELETE FROM outbox_refusal WHERE event_id = %s", [record.id.decode()])
        leases.store(page.after, page.shards)
    with within(record.cause):
        logger.info("%s was sent after all", record)


def refused_again(one: Requested, page: Page, *, leases: Leases) -> None:
    """Keep that Kafka refused it once more: it and what is behind it wait to be asked for again.

    What has been asked for meanwhile stays asked for. Raises LeaseLost.
    """
    record, cause = one.record, page.refused[0][1]
    with transaction.atomic(using=leases.using):
        leases.guard()
        with connections[leases.using].cursor() as sql:
            sql.execute(
                "UPDATE outbox_refusal SET requested_at = NULL,"
                " cause = CASE WHEN event_id = %(id)s THEN %(cause)s ELSE cause END"
                " WHERE (event_id = %(id)s OR (topic = %(topic)s AND key = %(key)s))"
                " AND requested_at <= %(at)s",
                {
                    "id": record.id.decode(),
                    "cause": cause,
                    "topic": record.topic,
                    "key": record.key_text,
                    "at": one.at,
                },
            )
        leases.store(page.after, page.shards)
    with within(record.cause):
        logger.error("%s is still refused: %s", record, cause)


def still_held(key: Key, *, leases: Leases) -> bool:
    """Whether anything of the key is held."""
    topic, raw = key
    with connections[leases.using].cursor() as sql:
        sql.execute(
            "SELECT EXISTS (SELECT FROM outbox_refusal WHERE topic = %s AND key = %s)", [topic, raw.decode()]
        )
        return bool(sql.fetchone()[0])
