"""What workers do about released keys: run what waits, in order, whatever is killed meanwhile.

The event at which a worker begins is marked in the key's row first (outbox/in_hand.py). After a death each of
those that may have been in hand is run by itself; at its third death an event is a dead letter.
"""

import logging
from contextlib import suppress

from django.db import DatabaseError, transaction

from outbox import clock, in_hand
from outbox.batch import Verdict
from outbox.config import config
from outbox.errors import ProcessDied
from outbox.generations import being_built
from outbox.models import ParkCause, ParkedKey
from outbox.policies import ending
from outbox.recovery import policy_for
from outbox.registry import Consumer, all_consumers
from outbox.repair.acts import Operator, Report, Via
from outbox.repair.keys import go_on_once
from outbox.suspects import DEATHS

logger = logging.getLogger(__name__)


def go_on_with_all() -> int:
    """Go on with every key whose release was cut short, or left to workers; how many events ran.

    Those that may kill this process come last: they keep no other key waiting.
    """
    ran = 0
    for consumer in all_consumers():
        released = ParkedKey.objects.using(consumer.using).filter(
            consumer=consumer.name, cause=ParkCause.RELEASED
        )
        for row in list(released.order_by("suspects", "parked_at")):
            ran += _go_on_with(consumer, row)
    return ran


def _go_on_with(consumer: Consumer, row: ParkedKey) -> int:
    ran = 0
    try:
        while (marked := _mark(consumer, row)) is not None and (report := _run(consumer, marked)) is not None:
            ran += report.ran
    except Exception:
        with suppress(DatabaseError):  # where it is away another worker takes this for a death, of three
            _let_go(consumer, row)
        raise
    # Not where a handler ends the process (SystemExit): it is as deadly as one that is killed.
    _let_go(consumer, row)
    return ran


def _let_go(consumer: Consumer, row: ParkedKey) -> None:
    ParkedKey.objects.using(consumer.using).filter(id=row.id, in_hand_by=in_hand.me()).update(in_hand_by="")


def _mark(consumer: Consumer, row: ParkedKey) -> ParkedKey | None:
    """The key with its next event in hand; None when it is not being released, or another one begins it."""
    with transaction.atomic(using=consumer.using):
        rows = ParkedKey.objects.using(consumer.using).select_for_update()
        marked = rows.filter(id=row.id, cause=ParkCause.RELEASED).first()
        if marked is None:
            return None
        now = clock.now(using=consumer.using)
        deaths = marked.deaths_with(marked.event_id, now=now)
        if deaths is None:
            return None
        if marked.in_hand != marked.event_id:
            marked.suspects = max(marked.suspects - 1, 0)
            deaths = min(marked.suspects, 1)  # whoever died may have had it in hand
        elif deaths > marked.deaths:
            marked.suspects = config().consumer_batch
            logger.warning("%s: a process died with it in hand; what waits there is run one by one", marked)
        marked.in_hand, marked.in_hand_by, marked.in_hand_at = marked.event_id, in_hand.me(), now
        marked.deaths = deaths
        fields = ["in_hand", "in_hand_by", "in_hand_at", "deaths", "suspects"]
        marked.save(using=consumer.using, update_fields=fields)
        return marked


def _run(consumer: Consumer, marked: ParkedKey) -> Report | None:
    condemned = {}
    if marked.deaths >= DEATHS:
        died = ProcessDied(
            f"{marked.deaths} processes died with this event in hand: killed, out of memory, ended by the"
            " handler, or crashed in native code. The system's log tells which."
        )
        policy = policy_for(died, consumer.on_error, unknown_retries=0)
        condemned[marked.event_id] = Verdict(died, marked.deaths, ending(policy))
        logger.error("%s: event %s is set aside: %s", marked, marked.event_id, died)
    return go_on_once(
        consumer,
        marked.generation,
        (marked.topic, marked.key),
        operator=Operator("worker", via=Via.WORKER),
        building=being_built(consumer, marked.generation),
        most=1 if marked.suspects else None,
        condemned=condemned,
    )
