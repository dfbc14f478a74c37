"""What workers do about released keys: run what waits, in order, whatever is killed meanwhile.

One worker at a time has a key, by an advisory lock, and marks the event at which it begins in the key's row
first (outbox/in_hand.py). After a death each of those that may have been in hand is run by itself; at its
third death an event is a dead letter.
"""

import logging
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime

from django.db import Error, transaction

from outbox import clock, in_hand
from outbox.config import config
from outbox.generations import being_built, try_lock
from outbox.models import ParkCause, ParkedKey
from outbox.policies import Verdict, ending
from outbox.recovery import policy_for
from outbox.registry import Consumer, all_consumers
from outbox.repair.acts import Operator, Report, Via
from outbox.repair.keys import go_on_once
from outbox.suspects import DEATHS, died_with_it

# The class of the advisory locks: "obxk" in ASCII.
_KEY_CLASS = 0x6F62786B
_NEVER = datetime.min.replace(tzinfo=UTC)

logger = logging.getLogger(__name__)


def go_on_with_all(*, seconds: float = 20.0) -> int:
    """Go on with keys whose release was cut short, or left to workers; how many events ran.

    For about so long. A transaction of each key in turn: those that have waited longest first, those that may
    kill this process last. One that cannot go on is left for the next time, and keeps no other waiting.
    """
    end, ran = time.monotonic() + seconds, 0
    turns = deque(_released())
    while turns and time.monotonic() < end:
        consumer, row = turns.popleft()
        try:
            report = _turn(consumer, row)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is of this key)
            logger.warning("%s cannot go on: %s: %s", row, type(error).__name__, error)
            _let_go(consumer, row)  # where its session has ended, and with it what would have said so
        else:
            if report is not None:
                ran += report.ran
                turns.append((consumer, row))
    return ran


def _released() -> list[tuple[Consumer, ParkedKey]]:
    found = [
        (consumer, row)
        for consumer in all_consumers()
        for row in ParkedKey.objects.using(consumer.using).filter(
            consumer=consumer.name, cause=ParkCause.RELEASED
        )
    ]
    return sorted(found, key=lambda one: (one[1].suspects > 0, one[1].in_hand_at or _NEVER, one[1].parked_at))


def _turn(consumer: Consumer, row: ParkedKey) -> Report | None:
    """Mark the key's next event, then run what waits in one transaction; None when there is nothing to do."""
    if not _mark(consumer, row):
        return None
    with transaction.atomic(using=consumer.using):
        if not _is_mine(consumer, row):
            return None
        marked = _key(consumer, row)
        if marked is None or marked.in_hand_by != in_hand.me():
            return None
        failure: Exception | None = None
        try:
            with transaction.atomic(using=consumer.using):
                report = _run(consumer, marked)
        except Exception as error:  # noqa: BLE001  (raised once the name is off the mark, under the lock)
            failure = error
        ParkedKey.objects.using(consumer.using).filter(id=row.id).update(in_hand_by="")
    if failure is not None:
        raise failure
    return report


def _mark(consumer: Consumer, row: ParkedKey) -> bool:
    """Put the key's next event in hand; False when another worker has the key, or is about to."""
    with transaction.atomic(using=consumer.using):
        marked = _key(consumer, row) if _is_mine(consumer, row) else None
        if marked is None:
            return False
        now = clock.now(using=consumer.using)
        deaths = marked.deaths_with(marked.event_id, now=now)
        if deaths is None:
            return False
        if marked.in_hand != marked.event_id:
            marked.suspects = max(marked.suspects - 1, 0)
            deaths = min(marked.suspects, 1)  # whoever died may have had it in hand
        elif deaths > marked.deaths:
            marked.suspects = config().consumer_batch
            logger.warning("%s: a process died with it in hand; what waits there is run one by one", marked)
        ParkedKey.objects.using(consumer.using).filter(id=row.id).update(
            in_hand=marked.event_id,
            in_hand_by=in_hand.me(),
            in_hand_at=now,
            deaths=deaths,
            suspects=marked.suspects,
        )
        return True


def _is_mine(consumer: Consumer, row: ParkedKey) -> bool:
    """Whether no other worker has the key; then it is this one's until the transaction ends.

    Through all tries of what fails: so a mark whose lock can be had is of a worker that is at it no more.
    """
    return try_lock(_KEY_CLASS, str(row.id), using=consumer.using)


def _key(consumer: Consumer, row: ParkedKey) -> ParkedKey | None:
    """As it is now; None when it is not being released any more."""
    return ParkedKey.objects.using(consumer.using).filter(id=row.id, cause=ParkCause.RELEASED).first()


def _let_go(consumer: Consumer, row: ParkedKey) -> None:
    """Its worker has come away from it alive. Not called where a handler ends the process (SystemExit)."""
    with suppress(Error):  # where the database is away another worker takes this for a death, of three
        mine = ParkedKey.objects.using(consumer.using).filter(id=row.id, in_hand_by=in_hand.me())
        mine.update(in_hand_by="")


def _run(consumer: Consumer, marked: ParkedKey) -> Report | None:
    condemned = {}
    if marked.deaths >= DEATHS:
        died = died_with_it(marked.deaths)
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
