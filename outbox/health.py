"""What the site stands on, asked part by part. Answers hold no addresses and no secrets."""

import ipaddress
import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor

from outbox import clock, state
from outbox.alerts.heartbeat import away_since, tasks_ran_at
from outbox.config import config
from outbox.consumer_models import ConsumerState
from outbox.kafka import BrokerError, Cluster
from outbox.members import members_of
from outbox.partitions import days_ahead
from outbox.patience import Patient
from outbox.pausing import ITSELF
from outbox.registry import all_consumers

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.0/8", "::1/128")
STATES = ["ready", "degraded", "unready"]
DATABASE_TIMEOUT = 5.0
KAFKA_TIMEOUT = 2.0
DAYS_AHEAD = 1.0
# Longer than a relay takes for anything but what is wrong; of a backlog so many events are looked at.
STUCK = timedelta(seconds=30)
STUCK_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Part:
    """One part's state; without a `required` one no request can be served."""

    ok: bool
    detail: str
    required: bool = True


def may_ask(address: str | None) -> bool:
    """Whether health is shown to this address: the loopback and settings.HEALTH_ALLOWED_ADDRESSES (CIDR)."""
    try:
        asking = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(asking, ipaddress.IPv6Address) and asking.ipv4_mapped:
        asking = asking.ipv4_mapped
    allowed = (*LOOPBACK, *getattr(settings, "HEALTH_ALLOWED_ADDRESSES", ()))
    return any(asking in ipaddress.ip_network(network) for network in allowed)


def readiness(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, Part]:
    """Every part, by name. The database is waited for DATABASE_TIMEOUT seconds at most, even if it hangs, and
    Kafka KAFKA_TIMEOUT.
    """
    try:
        parts = _patient(using).answer()
    except (Error, TimeoutError) as error:
        logger.warning("readiness: %s", str(error) or f"no answer within {DATABASE_TIMEOUT:g} s")
        parts = {"database": Part(ok=False, detail="The database does not answer.")}
    return parts | {"kafka": _kafka()}


@lru_cache(maxsize=1)
def _patient(using: str) -> Patient[dict[str, Part]]:
    return Patient(partial(_of_database, using), seconds=DATABASE_TIMEOUT, name="readiness")


def _of_database(using: str) -> dict[str, Part]:
    return {
        "database": _database(using),
        "migrations": _migrations(using),
        "partitions": _partitions(using),
        "relay": _relay(using),
        "consumers": _consumers(using),
        "tasks": _tasks(using),
    }


def summary(parts: dict[str, Part]) -> str:
    """ready, degraded or unready.

    Kafka, the relay, a consumer or the periodic tasks away is degraded, not unready: payments are accepted
    all the same, into the outbox, and a balancer that took the site away for it would turn a delay into an
    outage.
    """
    if any(part.required and not part.ok for part in parts.values()):
        return "unready"
    return "ready" if all(part.ok for part in parts.values()) else "degraded"


def _database(using: str) -> Part:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        standby = cursor.fetchone()[0]
    return Part(ok=not standby, detail="a standby: read-only" if standby else "answers")


# What has been applied once stays applied for the code of this process.
_migrated: set[str] = set()


def _migrations(using: str) -> Part:
    if using not in _migrated:
        executor = MigrationExecutor(connections[using])
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            return Part(ok=False, detail=f"{len(missing)} not applied: run manage.py migrate")
        _migrated.add(using)
    return Part(ok=True, detail="applied")


def _partitions(using: str) -> Part:
    days = days_ahead(using=using)
    return Part(ok=days >= DAYS_AHEAD, detail=f"{days:.0f} days ahead")


def _relay(using: str) -> Part:
    relays, leased, shards = state.leases(using=using)
    if not leased:
        detail = "No relay runs: what is published waits in the outbox. Start manage.py run_relay."
    elif leased < shards:
        detail = f"{shards - leased} of {shards} shards have no relay; others take them over in some seconds."
    else:
        _, oldest = state.backlog(now=clock.now(using=using), limit=STUCK_ROWS, using=using)
        if oldest is None or oldest < STUCK:
            return Part(True, f"all {shards} shards have a relay; there are {relays}", required=False)
        waited = f"An event has waited for {oldest.total_seconds():.0f} s"
        detail = f"{waited}: see whether Kafka answers, and the relay's log."
    return Part(ok=False, detail=detail, required=False)


def _consumers(using: str) -> Part:
    names = [consumer.name for consumer in all_consumers() if consumer.using == using]
    there = members_of(names, now=clock.now(using=using), using=using)
    reads = {name for name, members in there.items() if any(member.partitions for member in members)}
    paused = ConsumerState.objects.using(using).exclude(paused_at=None)
    by = dict(paused.values_list("name", "paused_by"))
    wrong = [f"{name}: no instance runs" for name in names if name not in there]
    wrong += [f"{name}: its instances read nothing" for name in names if name in there and name not in reads]
    wrong += [
        f"{name}: paused by {'itself' if by[name] == ITSELF else 'an operator'}"
        for name in names
        if name in there and name in by
    ]
    detail = "; ".join(wrong) or "each has an instance that reads, and none is paused"
    return Part(ok=not wrong, detail=detail, required=False)


def _tasks(using: str) -> Part:
    now = clock.now(using=using)
    if since := away_since(at=now, using=using):
        ago = (now - since).total_seconds()
        detail = f"none has run for {ago:.0f} s: start Celery's worker and its beat."
        return Part(ok=False, detail=detail, required=False)
    never = tasks_ran_at(using=using) is None
    return Part(True, "no periodic task has run yet" if never else "periodic tasks run", required=False)


@lru_cache(maxsize=1)
def _cluster() -> Cluster:
    return Cluster(config().kafka, timeout=KAFKA_TIMEOUT)


def _kafka() -> Part:
    try:
        present = _cluster().partition_counts()
    except BrokerError as error:
        logger.warning("readiness: %s", error)
        return Part(ok=False, detail="Kafka does not answer.", required=False)
    missing = [topic.name for topic in config().declared_topics() if topic.name not in present]
    if missing:
        detail = f"no topic {', '.join(missing)}: run manage.py topics apply"
        return Part(ok=False, detail=detail, required=False)
    return Part(ok=True, detail="answers", required=False)
