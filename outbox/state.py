"""How the system stands: what waits, is held, is set aside. No query counts a table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections

from outbox.ids import time_of
from outbox.registry import all_consumers
from outbox.unpublished import unpublished


@dataclass(frozen=True, slots=True)
class SetAside:
    """What a consumer has set aside, counted up to a limit.

    parked      keys, by cause
    oldest_gap  since when the key that has waited longest behind a gap is parked; None without one
    dead        dead letters that are open
    """

    parked: Mapping[str, int] = field(default_factory=dict)
    oldest_gap: datetime | None = None
    dead: int = 0


def backlog(*, now: datetime, limit: int, using: str = DEFAULT_DB_ALIAS) -> tuple[int, timedelta | None]:
    """How many events no relay has moved past yet, up to `limit`, and for how long the first has waited."""
    found = unpublished(limit=limit, using=using)
    return min(len(found), limit), now - time_of(min(found).id) if found else None


def refused(*, limit: int, using: str = DEFAULT_DB_ALIAS) -> int:
    """How many events are held that Kafka refused, or behind one of their key; up to `limit`."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM (SELECT FROM outbox_refusal LIMIT %s) held", [limit])
        return int(cursor.fetchone()[0])


def leases(*, using: str = DEFAULT_DB_ALIAS) -> tuple[int, int, int]:
    """Relays that hold shards, shards under a lease that has not run out, and shards in all."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT owner) FILTER (WHERE expires_at > clock_timestamp()),"
            " count(*) FILTER (WHERE expires_at > clock_timestamp()), count(*) FROM outbox_shard"
        )
        relays, leased, shards = cursor.fetchone()
    return relays, leased, shards


def set_aside(*, limit: int, using: str = DEFAULT_DB_ALIAS) -> dict[str, SetAside]:
    """What each consumer of this database has set aside, in its live generation."""
    names = [consumer.name for consumer in all_consumers() if consumer.using == using]
    found = {name: SetAside() for name in names}
    with connections[using].cursor() as cursor:
        cursor.execute(_SET_ASIDE, {"names": names, "limit": limit})
        for name, parked, oldest_gap, dead in cursor.fetchall():
            found[name] = SetAside(json.loads(parked), oldest_gap, dead)
    return found


_SET_ASIDE = """
SELECT name, coalesce(parked.by_cause, '{}'::jsonb)::text, parked.oldest_gap,
    (SELECT count(*) FROM (
        SELECT FROM outbox_dead_letter
        WHERE consumer = name AND generation = live AND state = 'open' LIMIT %(limit)s) dead)
FROM (
    SELECT name, coalesce((SELECT generation FROM outbox_generation
        WHERE consumer = name AND state = 'live'), 1) AS live
    FROM unnest(%(names)s::text[]) name
) consumer CROSS JOIN LATERAL (
    SELECT jsonb_object_agg(cause, keys) AS by_cause, min(since) FILTER (WHERE cause = 'gap') AS oldest_gap
    FROM (
        SELECT cause, count(*) AS keys, min(parked_at) AS since FROM (
            SELECT cause, parked_at FROM outbox_parked_key WHERE consumer = name AND generation = live
            LIMIT %(limit)s) one GROUP BY cause
    ) grouped
) parked
"""
