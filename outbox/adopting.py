"""Saying what happened to a database or to Kafka, so that relays may go on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from outbox import origin
from outbox.config import Config, config
from outbox.envelope import key_text
from outbox.errors import NotAdopted
from outbox.kafka import Placement, Record, records_between
from outbox.lease import is_behind_its_cursor, members
from outbox.origin import Here
from outbox.relay_models import Origin

TIMEOUT = 10.0
AT_ONCE = 1_000

_MUTABLE = "ALTER TABLE outbox_event DISABLE TRIGGER outbox_event_append_only"
_APPEND_ONLY = "ALTER TABLE outbox_event ENABLE TRIGGER outbox_event_append_only"
# What had been sent is never looked at again; what had not is sent, in its order.
_NEW_TXIDS = """
UPDATE outbox_event event SET txid = CASE
    WHEN EXISTS (SELECT FROM outbox_publication WHERE event_id = event.id) THEN '1'
    ELSE pg_current_xact_id() END
"""
# Sees nothing, not even what was sent before a dump was adopted.
_ALL_AGAIN = "UPDATE outbox_shard SET previous = '1:1:', current = NULL, position = 0"
_FROM_THE_BEGINNING = "UPDATE outbox_shard SET previous = '3:3:', current = NULL, position = 0"
_FROM_NOW_ON = "UPDATE outbox_shard SET previous = pg_current_snapshot(), current = NULL, position = 0"
_TRACED = """
SELECT event.topic, publication.partition, max(publication."offset") + 1
FROM outbox_publication AS publication JOIN outbox_event AS event ON event.id = publication.event_id
WHERE publication.published_at >= %s
GROUP BY 1, 2
"""
# What was published since, with numbers that Kafka knows as another event's.
_SHIFT_EVENTS = """
UPDATE outbox_event AS event SET number = event.number + last - first + 1
FROM unnest(%(topics)s::text[], %(keys)s::text[], %(firsts)s::bigint[], %(lasts)s::bigint[])
    AS lost (topic, key, first, last)
WHERE event.topic = lost.topic AND event.key = lost.key AND event.number >= first
"""
_SHIFT_COUNTERS = """
INSERT INTO outbox_key_counter AS counter (topic, key, number)
SELECT topic, key, last FROM unnest(%(topics)s::text[], %(keys)s::text[], %(lasts)s::bigint[])
    AS lost (topic, key, last)
ON CONFLICT (topic, key) DO UPDATE SET number = greatest(EXCLUDED.number, counter.number + EXCLUDED.number - (
    SELECT first - 1 FROM unnest(%(topics)s::text[], %(keys)s::text[], %(firsts)s::bigint[])
        AS lost (topic, key, first)
    WHERE lost.topic = counter.topic AND lost.key = counter.key))
"""
Spans = dict[tuple[str, str], tuple[int, int]]  # topic and key: the first and the last number


@dataclass(frozen=True, slots=True)
class Adopted:
    """What came of it: how many events Kafka has that the outbox lacks, and how many are to be sent."""

    lost: int
    unsent: int


def from_dump(*, resend: bool = False, using: str = DEFAULT_DB_ALIAS) -> Adopted:
    """The database was restored from a logical dump: its transaction ids are another server's.

    Needs the tables' owner.

    resend  send all that the outbox still holds, to a Kafka that is new as well
    """
    return _adopt(using, _MUTABLE, _NEW_TXIDS, _APPEND_ONLY, _FROM_THE_BEGINNING, *_sent_again(resend))


def from_backup(*, resend: bool = False, using: str = DEFAULT_DB_ALIAS) -> Adopted:
    """The database is a physical copy that has taken the original's place: a restored backup, a standby that
    was promoted without the last transactions, or the outcome of pg_upgrade.

    Raises NotAdopted where the transaction ids say that it was a dump.
    """
    if is_behind_its_cursor(using=using):
        raise NotAdopted("The transaction ids are behind the relay's cursor: this was a dump, not a backup.")
    return _adopt(using, *_sent_again(resend))


def as_clone(*, using: str = DEFAULT_DB_ALIAS) -> Adopted:
    """The database is a copy of one that lives on, and that sends what the copy holds by now.

    Raises NotAdopted where it would write into the original's Kafka.
    """

    def apart(here: Here, known: Origin) -> None:
        if here.kafka == known.kafka:
            raise NotAdopted(
                "The original writes into this Kafka, with the same keys and numbers: give the copy one of"
                " its own."
            )

    return _adopt(using, _FROM_NOW_ON, checked=apart)


def with_new_kafka(*, resend: bool, using: str = DEFAULT_DB_ALIAS) -> Adopted:
    """The database is what it was, and Kafka is another one.

    resend  send all that the outbox still holds; otherwise Kafka is taken for a copy of the old one

    Raises NotAdopted where Kafka is the old one, or the database another one.
    """

    def another(here: Here, known: Origin) -> None:
        if here.kafka == known.kafka:
            raise NotAdopted("Kafka is the one to which the outbox has been sent all along.")
        if origin.is_another(here.server, known.server):
            raise NotAdopted("The database is another one, too: adopt it as a dump or a backup, --resend.")

    return _adopt(using, *_sent_again(resend), checked=another)


def _sent_again(resend: bool) -> list[str]:
    return [_ALL_AGAIN] if resend else []


def _adopt(using: str, *statements: str, checked: Callable[[Here, Origin], None] | None = None) -> Adopted:
    settings = config()
    here = origin.look(settings=settings, using=using, timeout=TIMEOUT)
    known = Origin.objects.using(using).first()
    if known is None:
        raise NotAdopted("No relay has run here yet: the first one takes the database and Kafka as they are.")
    if checked is not None:
        checked(here, known)
    with transaction.atomic(using=using):
        with connections[using].cursor() as sql:
            # Behind whom this waits, all publishers would wait.
            sql.execute("SELECT set_config('lock_timeout', '5s', true)")
        _stand_still(using)
        lost = 0
        if here.kafka == known.kafka:
            lost = _step_behind(_lost(here, known, settings, using), using)
        with connections[using].cursor() as sql:
            for statement in statements:
                sql.execute(statement)
        origin.take(here, using=using)
    return Adopted(lost, _unsent(using))


def _stand_still(using: str) -> None:
    """Raises NotAdopted while a relay is there. One that comes later waits for this transaction."""
    with connections[using].cursor() as sql:
        sql.execute("SELECT FROM outbox_shard ORDER BY shard FOR UPDATE")
        if owners := members(seconds=config().lease, using=using):
            raise NotAdopted(f"Stop the relays first, and wait for their leases to end: {', '.join(owners)}.")
        sql.execute("UPDATE outbox_shard SET owner = NULL, expires_at = NULL")


def _traced(known: Origin, using: str) -> dict[Placement, int]:
    """The offset behind the last record of each partition that is known to have been sent to this Kafka."""
    with connections[using].cursor() as sql:
        sql.execute(_TRACED, [known.taken_at])
        return {(topic, partition): offset for topic, partition, offset in sql.fetchall()}


def _lost(here: Here, known: Origin, settings: Config, using: str) -> Iterator[Record]:
    """What Kafka has and this database has not."""
    traced = _traced(known, using)
    starts = {}
    for place, end in here.ends.items():
        begin = traced.get(place, 0)
        starts[place] = max(begin if begin <= end else 0, origin.end_in(known, place, here))
    records = records_between(settings.kafka, starts, here.ends, timeout=TIMEOUT)
    while some := list(islice(records, AT_ONCE)):
        yield from origin.strangers(some, settings=settings, using=using)


def _step_behind(records: Iterable[Record], using: str) -> int:
    """See to it that no number that Kafka has is given to another event; return how many records they are.

    Readers would take the other event for one that they know.
    """
    count, spans = 0, Spans()
    for record in records:
        count += 1
        key, number = key_text(record.key), dict(record.headers).get("ce_sequence")
        if key is not None and number is not None:
            first, last = spans.get((record.topic, key), (int(number), int(number)))
            spans[record.topic, key] = min(first, int(number)), max(last, int(number))
    if spans:
        lost: dict[str, Any] = {
            "topics": [topic for topic, _ in spans],
            "keys": [key for _, key in spans],
            "firsts": [first for first, _ in spans.values()],
            "lasts": [last for _, last in spans.values()],
        }
        with connections[using].cursor() as sql:
            sql.execute(_MUTABLE)  # which keeps publishers waiting, too
            sql.execute(_SHIFT_EVENTS, lost)
            sql.execute(_APPEND_ONLY)
            sql.execute(_SHIFT_COUNTERS, lost)
    return count


def _unsent(using: str) -> int:
    with connections[using].cursor() as sql:
        sql.execute(
            "SELECT count(*) FROM outbox_event AS event JOIN outbox_shard USING (shard)"
            " WHERE NOT pg_visible_in_snapshot(event.txid, previous)"
        )
        return int(sql.fetchone()[0])
