"""Dead letters of a generation being built, of events that were decided about in the live one since."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import connections

from outbox.errors import RepairRefused
from outbox.registry import Consumer
from outbox.repair.acts import Operator, Via
from outbox.repair.letters import discard, replay

# What has been followed once, and has died again, stays open.
_DECIDED = """
SELECT letter.id, decided.act, decided.who, decided.why, decided.correction FROM outbox_dead_letter AS letter
CROSS JOIN LATERAL (
    SELECT * FROM outbox_act WHERE event_id = letter.event_id AND consumer = letter.consumer
        AND (act, result) IN (('replay', 'replayed'), ('discard', 'discarded')) ORDER BY id DESC LIMIT 1
) AS decided
WHERE letter.consumer = %s AND letter.generation = %s AND letter.state = 'open'
    AND decided.at > greatest(letter.died_at, %s::timestamptz)
    AND NOT EXISTS (SELECT FROM outbox_act AS mine WHERE mine.letter_id = letter.id AND mine.id > decided.id)
ORDER BY letter.died_at, letter.id
"""


def follow(consumer: Consumer, *, building: int) -> None:
    """Do the same about each of them, in the name of whoever did it there."""
    for letter_id, act, who, why, correction in _decided(consumer, building, since=None):
        operator = Operator(who, why, Via.WORKER)
        with suppress(RepairRefused):  # it stays open, as it would be for that operator
            if act == "discard":
                discard(letter_id=letter_id, operator=operator, using=consumer.using)
            else:
                data = None if correction is None else bytes(correction)
                replay(letter_id=letter_id, operator=operator, data=data, late=True, using=consumer.using)


def is_to_follow(consumer: Consumer, *, building: int, since: datetime) -> bool:
    """Whether there are such whose event was decided about since then."""
    return bool(_decided(consumer, building, since=since))


def _decided(consumer: Consumer, building: int, *, since: datetime | None) -> list[tuple[Any, ...]]:
    with connections[consumer.using].cursor() as sql:
        sql.execute(_DECIDED, [consumer.name, building, since])
        found: list[tuple[Any, ...]] = sql.fetchall()
        return found
