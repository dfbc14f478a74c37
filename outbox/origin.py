"""Whether this outbox and this Kafka still belong together.

A database that was restored has forgotten what Kafka has been told since; a copy of one writes beside the
original; and transaction ids, on which the relay's cursor rests, mean nothing in another server. The last
records in Kafka tell: each of ours must be in the outbox.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import connections

from outbox.config import Config
from outbox.errors import RestoredDatabase
from outbox.ids import lowest_id
from outbox.kafka import Cluster, Placement, Record, records_between
from outbox.partitions import weeks_of
from outbox.relay_models import Origin

logger = logging.getLogger(__name__)

# Of each partition, looked at for one that this database has never written.
LAST = 20
_UNKNOWN = "unknown"
TIMEOUT = 2.0
_TOLD = "docs/operations.md says what to do; `manage.py relay adopt --help` lists what may have happened."


@dataclass(frozen=True, slots=True)
class Here:
    """Where this outbox is, and which Kafka it goes to.

    server    the system identifier of PostgreSQL's cluster, and the database's oid in it
    timeline  changes when a standby or a backup becomes a primary
    ends      where each partition of the declared topics ends
    """

    server: str
    timeline: str
    kafka: str
    ends: dict[Placement, int]


def look(*, settings: Config, using: str, timeout: float = TIMEOUT) -> Here:
    """Ask both. Raises BrokerError."""
    cluster = Cluster(settings.kafka, timeout=timeout)
    counts = cluster.partition_counts()
    places = [
        (topic.name, partition)
        for topic in settings.declared_topics()
        for partition in range(counts.get(topic.name, 0))
    ]
    server, timeline = _server(using)
    return Here(server, timeline, cluster.id(), cluster.watermarks(places))


def _server(using: str) -> tuple[str, str]:
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT oid::text, left(pg_walfile_name(pg_current_wal_lsn()), 8),"
            " has_function_privilege('pg_control_system()', 'EXECUTE')"
            " FROM pg_database WHERE datname = current_database()"
        )
        oid, timeline, may_ask = sql.fetchone()
        if not may_ask:
            return f"{_UNKNOWN}/{oid}", timeline
        sql.execute("SELECT system_identifier::text FROM pg_control_system()")
        return f"{sql.fetchone()[0]}/{oid}", timeline


def is_another(server: str, known: str) -> bool:
    """Where this role may not ask for the system identifier, or one before might not, the rest has to do."""
    systems = {one.partition("/")[0] for one in (server, known)}
    return server != known and _UNKNOWN not in systems


def take(here: Here, *, using: str) -> None:
    """Belong here from now on; what Kafka has by now is not looked at any more."""
    ends = {f"{topic}/{partition}": end for (topic, partition), end in here.ends.items()}
    Origin.objects.using(using).bulk_create(
        [Origin(server=here.server, timeline=here.timeline, kafka=here.kafka, ends=ends)],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["server", "timeline", "kafka", "ends", "taken_at"],
    )


def end_in(known: Origin, place: Placement, here: Here) -> int:
    """Where a partition ended when this was taken; 0 when it has been made anew since."""
    topic, partition = place
    end = int(known.ends.get(f"{topic}/{partition}", 0))
    return end if end <= here.ends[place] else 0


def check(*, settings: Config, using: str) -> None:
    """Raises RestoredDatabase where nothing may be sent before somebody says what happened; BrokerError."""
    here, known = look(settings=settings, using=using), Origin.objects.using(using).first()
    if known is None:
        take(here, using=using)
        return
    if here.kafka != known.kafka:
        raise RestoredDatabase(
            f"This is another Kafka (cluster {here.kafka}) than the outbox was sent to ({known.kafka})."
            f" {_TOLD}"
        )
    if is_another(here.server, known.server):
        raise RestoredDatabase(
            f"This is another database ({here.server}) than the outbox was written in ({known.server}): it"
            f" was restored, copied or upgraded. {_TOLD}"
        )
    starts = {place: max(end_in(known, place, here), end - LAST) for place, end in here.ends.items()}
    last = records_between(settings.kafka, starts, here.ends, timeout=TIMEOUT)
    if unknown := strangers(last, settings=settings, using=using):
        one = unknown[0]
        raise RestoredDatabase(
            f"Kafka has events from {settings.source_of(using)} that this database has never written, one at"
            f" offset {one.offset} of {one.topic}/{one.partition}: it was set back to an earlier moment, or"
            f" another database writes under the same name. {_TOLD}"
        )
    if here.timeline != known.timeline:
        logger.info("the server was promoted (timeline %s): Kafka knows nothing it lacks", here.timeline)
        Origin.objects.using(using).update(timeline=here.timeline)


def strangers(records: Iterable[Record], *, settings: Config, using: str) -> list[Record]:
    """Those that bear this outbox's name and are not in it, of the weeks that it holds."""
    found: dict[UUID, Record] = {}
    for record in records:
        event_id = _own_id(record, settings.source_of(using))
        if event_id is not None:
            found[event_id] = record
    with connections[using].cursor() as sql:
        sql.execute("SELECT id FROM outbox_event WHERE id = ANY(%s)", [list(found)])
        for (event_id,) in sql.fetchall():
            del found[event_id]
    # Asked last: a week may be dropped at any time.
    weeks = weeks_of("outbox_event", using=using)
    return [
        record
        for event_id, record in found.items()
        if any(lowest_id(week.start) <= event_id < lowest_id(week.end) for week in weeks)
    ]


def _own_id(record: Record, source: str) -> UUID | None:
    headers = dict(record.headers)
    if (headers.get("ce_source") or b"").rpartition(b"/")[0] != source.encode():
        return None
    try:
        return UUID((headers.get("ce_id") or b"").decode())
    except ValueError:
        return None
