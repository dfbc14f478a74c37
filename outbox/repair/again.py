"""Events of the outbox once more: to Kafka for all who read there, or to one consumer alone.

Sent again are events that Kafka has had already: then whatever is read first of a key has been in order, and
readers drop the rest by its id. An event that has yet to be sent, or is held as refused, is the relay's.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from outbox import clock, origin
from outbox.aside import storable
from outbox.config import Config, config
from outbox.ids import lowest_id, new_id
from outbox.item import read_item
from outbox.kafka import BrokerError, Record
from outbox.models import Outcome
from outbox.pages import Page
from outbox.placing import Placing
from outbox.recorder import write_traces
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Act, Operator, Report, Result, write_down
from outbox.repair.matching import Pace, Selection, Told
from outbox.repair.rerun import Rerun, carry_out
from outbox.sending import CAREFULLY, Sending
from outbox.window import Cursor, OutboxRecord, Snapshot, columns_as_sent, fetch

_NOWHERE = Cursor(Snapshot("3:3:"), None, 0)
PATIENCE = 0.1

_MATCH = """
    (%(event)s::uuid IS NULL OR event.id = %(event)s)
    AND (%(key)s::text IS NULL OR event.key = %(key)s)
    AND (%(topics)s::text[] IS NULL OR event.topic = ANY(%(topics)s))
    AND (%(type)s::text IS NULL OR event.type = %(type)s)
    AND (%(since)s::uuid IS NULL OR event.id >= %(since)s)
    AND (%(until)s::uuid IS NULL OR event.id < %(until)s)
"""
_SENT = """
    EXISTS (SELECT FROM outbox_publication WHERE event_id = event.id)
    AND NOT EXISTS (SELECT FROM outbox_refusal WHERE event_id = event.id)
"""
_PAGE = f"""
SELECT {columns_as_sent("event")} FROM outbox_event AS event
WHERE event.position > %(after)s AND {_MATCH} AND {_SENT} ORDER BY event.position LIMIT %(limit)s
"""
_COUNT = f"""
SELECT count(*) FILTER (WHERE {_SENT}), count(*) FILTER (WHERE NOT ({_SENT}))
FROM outbox_event AS event WHERE {_MATCH}
"""
_PLACE = """
SELECT partition, "offset" FROM outbox_publication WHERE event_id = %s ORDER BY published_at DESC LIMIT 1
"""


def count(selection: Selection, *, using: str = DEFAULT_DB_ALIAS) -> tuple[int, int]:
    """How many events match that Kafka has had, and how many that it has not. Raises NothingSelected."""
    with connections[using].cursor() as sql:
        sql.execute(_COUNT, _asked(selection))
        sent, unsent = sql.fetchone()
        return sent, unsent


def matching(
    selection: Selection, *, limit: int = CAREFULLY, using: str = DEFAULT_DB_ALIAS
) -> Iterator[list[OutboxRecord]]:
    """Pages of the events that match and that Kafka has had, in the order in which they were published."""
    asked = {**_asked(selection), "after": 0, "limit": limit}
    while page := [OutboxRecord._make(row) for row in fetch(_PAGE, asked, using=using)]:
        yield page
        asked["after"] = page[-1].position


def _asked(selection: Selection) -> dict[str, Any]:
    selection.check()
    topics = None if selection.topic is None else [selection.topic]
    if selection.consumer is not None and topics is None:
        topics = get_consumer(selection.consumer).topics
    return {
        "event": selection.event,
        "key": selection.key,
        "topics": topics,
        "type": selection.type,
        "since": None if selection.since is None else lowest_id(selection.since),
        "until": None if selection.until is None else lowest_id(selection.until),
    }


def send_again(
    *,
    selection: Selection,
    operator: Operator,
    told: Told,
    rate: float | None = None,
    stop: threading.Event | None = None,
    settings: Config | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Counter[Result]:
    """Send the events that match to Kafka once more, in order per key, with the ids and numbers they have.

    A consumer that missed one has it then; those that know it drop it. `told` is called for each.

    rate  events a second, at most

    Who has it sent is written down first: what a killed process has left `pending` may have been sent.

    Raises RestoredDatabase, as a relay does, UnknownTopic, and BrokerError when Kafka is away: what was told
    has been sent and written down.
    """
    settings, stop = settings or config(), stop or threading.Event()
    origin.check(settings=settings, using=using)
    limit = CAREFULLY if rate is None else max(1, min(CAREFULLY, int(rate)))
    placing, pace, results = Placing(using=using), Pace(rate, stop=stop), Counter[Result]()
    sending = Sending(settings, held=set(), stop=stop, suspicious=True)
    try:
        for records in matching(selection, limit=limit, using=using):
            if not pace.wait(len(records)):
                break
            page = Page(records, placing.places(records), [], _NOWHERE)
            acts = _intend(records, operator, using=using)
            sending.send(page)
            patience = 0.0
            while not sending.hear(patience):
                patience = PATIENCE
                if stop.is_set():
                    raise BrokerError("stopped while Kafka was away")
            _complete(page, acts, using=using)
            for record, report in _reports(page):
                results[report.result] += 1
                told(_id_of(record), report)
    finally:
        sending.abandon()
    return results


def deliver_again(
    *,
    selection: Selection,
    operator: Operator,
    told: Told,
    rate: float | None = None,
    stop: threading.Event | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Counter[Result]:
    """Give one consumer the events that match, as if Kafka delivered them once more; others see nothing.

    What it missed it processes, in order per key as always; what it knows it drops, and that is told of each.

    Raises UnknownConsumer, NothingSelected, and what keeps a database away: what was told is done.
    """
    consumer = get_consumer(selection.consumer or "")
    pace, results = Pace(rate, stop=stop or threading.Event()), Counter[Result]()
    for records in matching(selection, using=using):
        for record in records:
            if not pace.wait():
                return results
            report = _delivered(record, consumer, operator, using=using)
            results[report.result] += 1
            told(_id_of(record), report)
    return results


def _delivered(record: OutboxRecord, consumer: Consumer, operator: Operator, *, using: str) -> Report:
    with connections[using].cursor() as sql:
        sql.execute(_PLACE, [record.id.decode()])
        partition, offset = sql.fetchone()
    found = Record(
        record.topic, partition, offset, record.key, record.payload, [*record.headers()], timestamp=None
    )

    def work(batch: Rerun) -> Report:
        item = read_item(found, consumer=consumer, now=clock.now(using=consumer.using))
        known, outcome = batch.receive(item)
        if known:
            report = Report(Result.NOTHING, f"Dropped: {consumer.name} knows it, as {_KNOWN[outcome]}")
        else:
            result = Result.DIED if outcome is Outcome.DEAD else Result.REPLAYED
            waiting = batch.count_waiting(item.key)
            report = batch.tell(result, f"It is {_KNOWN[outcome]}", waiting=waiting)
        write_down(
            operator,
            "resend",
            report,
            using=consumer.using,
            consumer=consumer.name,
            generation=batch.generation,
            event_id=item.inbox_id,
            topic=record.topic,
            key=record.key_text,
        )
        return report

    return carry_out(consumer, work)


_KNOWN = {
    Outcome.PROCESSED: "processed",
    Outcome.UNHANDLED: "passed, of a type it does not handle",
    Outcome.PARKED: "parked: it waits behind an earlier event of its key",
    Outcome.DEAD: "a dead letter: replay or discard that",
    Outcome.DISCARDED: "discarded",
}


def _id_of(record: OutboxRecord) -> UUID:
    return UUID(record.id.decode())


def _reports(page: Page) -> list[tuple[OutboxRecord, Report]]:
    """What became of each record of a page that was sent."""
    refused = dict(page.refused)
    return [
        (record, Report(Result.NOTHING, "Kafka refused it", error=refused[record]))
        if record in refused
        else (record, Report(Result.SENT, f"It is at {place[0]}/{place[1]}/{offset}"))
        for record, place, offset in zip(page.records, page.places, page.offsets, strict=True)
    ]


def _intend(records: list[OutboxRecord], operator: Operator, *, using: str) -> list[Act]:
    """Who is about to have them sent, committed before they are."""
    now = clock.now(using=using)
    acts = [
        Act(
            id=new_id(now),
            at=now,
            who=operator.name,
            via=operator.via,
            why=operator.reason,
            act="resend",
            consumer="",
            event_id=_id_of(record),
            topic=record.topic,
            key=record.key_text,
            result=Result.PENDING,
            detail="Begun; whether Kafka has it is not known.",
            error="",
            ran=0,
            waiting=0,
        )
        for record in records
    ]
    return Act.objects.using(using).bulk_create(acts)


def _complete(page: Page, acts: list[Act], *, using: str) -> None:
    """The traces of a page that was sent, and what came of each."""
    for act, (_, report) in zip(acts, _reports(page), strict=True):
        act.result, act.error, act.detail = report.result, report.error, storable(report.detail)
    with transaction.atomic(using=using):
        write_traces([page], using=using)
        Act.objects.using(using).bulk_update(acts, ["result", "error", "detail"])
