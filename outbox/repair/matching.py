"""Acts on all that match: which dead letters and events are meant, and each of them in turn."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Q, QuerySet

from outbox.bounded import many
from outbox.errors import NothingSelected, RepairRefused
from outbox.generations import live_generation
from outbox.models import DeadLetter, LetterState, ParkCause, ParkedKey
from outbox.repair import keys, letters
from outbox.repair.acts import Operator, Report, Result
from outbox.walking import in_index_order

MOST_COUNTED = 10_000

Told = Callable[[UUID, Report], None]

_HELD = """
WITH held AS MATERIALIZED (
    SELECT consumer, generation, topic, key
    FROM unnest(%s::text[], %s::smallint[], %s::text[], %s::text[], %s::uuid[])
        AS letter (consumer, generation, topic, key, event_id)
    JOIN outbox_parked_key AS parked USING (consumer, generation, topic, key, event_id)
)
SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM (
    SELECT FROM held JOIN outbox_waiting_event AS waiting USING (consumer, generation, topic, key) LIMIT %s
) AS counted)
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which are meant: those that fit all that is given.

    cause         the error's type, or a fingerprint
    fingerprint   a fingerprint alone
    ids           dead letters by their ids
    since, until  when a letter died, or when an event was published; `until` itself is outside
    everything    all there are, where nothing else is given
    """

    event: UUID | None = None
    key: str | None = None
    topic: str | None = None
    type: str | None = None
    consumer: str | None = None
    cause: str | None = None
    fingerprint: str | None = None
    ids: tuple[UUID, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False

    def check(self) -> None:
        """Raises NothingSelected when nothing says which are meant."""
        if not any(getattr(self, field.name) not in {None, False} for field in fields(self)):
            raise NothingSelected

    def letters(self, *, using: str = DEFAULT_DB_ALIAS) -> QuerySet[DeadLetter]:
        """The open dead letters that fit, in the order in which they died. Raises NothingSelected."""
        self.check()
        wanted: dict[str, Any] = {
            "event_id": self.event,
            "key": self.key,
            "topic": self.topic,
            "type": self.type,
            "consumer": self.consumer,
            "fingerprint": self.fingerprint,
            "id__in": self.ids,
            "died_at__gte": self.since,
            "died_at__lt": self.until,
        }
        found = DeadLetter.objects.using(using).filter(state=LetterState.OPEN)
        found = found.filter(**{name: value for name, value in wanted.items() if value is not None})
        if self.cause is not None:
            found = found.filter(Q(cause=self.cause) | Q(fingerprint=self.cause))
        return found.order_by("died_at", "id")

    def first(self, *, after: tuple[datetime, UUID] | None = None, using: str) -> DeadLetter | None:
        """The first of `letters`, or the first after a place in their order; its own place alone is read.

        What lies between is read along an index that has this order, whatever the statistics say: going from
        each letter to the next reads those that do not fit once, and not again for each that does.
        """
        if self.ids is not None or self.event is not None:
            return self._first(Q(), after, using)
        with in_index_order(using=using):
            # No index has letters of a cause and of a fingerprint in one order.
            ways = [Q()] if self.cause is None else [Q(cause=self.cause), Q(fingerprint=self.cause)]
            free = replace(self, cause=None, everything=True)
            found = [free._first(way, after, using) for way in ways]
        return min(filter(None, found), key=lambda letter: (letter.died_at, letter.id), default=None)

    def _first(self, way: Q, after: tuple[datetime, UUID] | None, using: str) -> DeadLetter | None:
        found = self.letters(using=using).filter(way).only("id", "died_at")
        if after is not None:
            died_at, letter_id = after
            found = found.filter(Q(died_at__gt=died_at) | Q(id__gt=letter_id), died_at__gte=died_at)
        return found.first()


@dataclass(frozen=True, slots=True)
class Extent:
    """What an act on all that match is about, in numbers.

    letters  how many match
    keys     how many keys they hold
    waiting  how many events wait behind those keys
    more     that there are more than was counted, of any of these
    """

    letters: int
    keys: int
    waiting: int
    more: bool

    def consequence(self, act: str) -> str:
        """What replaying or discarding them does, in numbers."""
        least = "at least " if self.more else ""
        done = f"{act.capitalize()}s {least}{many(self.letters, 'event')}"
        held = f" of {many(self.keys, 'key')}" if self.keys else ""
        if not self.waiting:
            return f"{done}{held}; no event waits behind them."
        behind = "will then run, in order, up to the next failure"
        return f"{done}{held}; {least}{many(self.waiting, 'waiting event')} {behind}."


def extent(selection: Selection, *, using: str = DEFAULT_DB_ALIAS) -> Extent:
    """How much matches, counted up to MOST_COUNTED letters and events. Raises NothingSelected."""
    columns = ("consumer", "generation", "topic", "key", "event_id")
    found = list(selection.letters(using=using).values_list(*columns)[: MOST_COUNTED + 1])
    counted = found[:MOST_COUNTED]
    keyed = [row for row in counted if row[3] is not None]
    with connections[using].cursor() as sql:
        sql.execute(_HELD, [[str(row[at]) for row in keyed] for at in range(5)] + [MOST_COUNTED + 1])
        keys, waiting = sql.fetchone()
    more = len(found) > MOST_COUNTED or waiting > MOST_COUNTED
    return Extent(len(counted), keys, min(waiting, MOST_COUNTED), more)


class Pace:
    """No more than so many a second; None for as fast as it goes."""

    def __init__(self, rate: float | None, *, stop: threading.Event) -> None:
        self._interval = 0.0 if rate is None else 1 / rate
        self._stop = stop
        self._next = time.monotonic()

    def wait(self, count: int = 1) -> bool:
        """Wait for the turn of `count` more. Whether to go on: not when told to stop."""
        delay = self._next - time.monotonic()
        self._next = max(self._next, time.monotonic()) + count * self._interval
        return not self._stop.wait(max(0.0, delay))


def replay_matching(
    *,
    selection: Selection,
    operator: Operator,
    told: Told,
    late: bool = False,
    rate: float | None = None,
    stop: threading.Event | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Counter[Result]:
    """Replay each letter that matches now, as replay() does; how many of them came to which result.

    `told` is called after each. What died meanwhile is not among them.

    rate  letters a second, at most; what waits behind them is not counted
    stop  set to end it between two letters
    """

    def act(letter_id: UUID) -> Report:
        return letters.replay(letter_id=letter_id, operator=operator, late=late, using=using)

    return _each(act, _ids(selection, using), told=told, rate=rate, stop=stop)


def discard_matching(
    *,
    selection: Selection,
    operator: Operator,
    told: Told,
    rate: float | None = None,
    stop: threading.Event | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Counter[Result]:
    """Discard each letter that matches now, as discard() does. The same otherwise."""
    operator.must_say_why()

    def act(letter_id: UUID) -> Report:
        return letters.discard(letter_id=letter_id, operator=operator, using=using)

    return _each(act, _ids(selection, using), told=told, rate=rate, stop=stop)


def gaps(consumer: str, *, topic: str | None = None, using: str = DEFAULT_DB_ALIAS) -> QuerySet[ParkedKey]:
    """A consumer's keys that are parked by a gap, in its live generation, in the order in which they were."""
    generation = live_generation(consumer, using=using)
    found = ParkedKey.objects.using(using).filter(
        consumer=consumer, generation=generation, cause=ParkCause.GAP
    )
    return (found if topic is None else found.filter(topic=topic)).order_by("parked_at", "id")


def release_matching(
    *,
    consumer: str,
    topic: str | None = None,
    operator: Operator,
    told: Told,
    rate: float | None = None,
    stop: threading.Event | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Counter[Result]:
    """Release each key that is parked by a gap now, as release() does. The same otherwise."""
    operator.must_say_why()

    def act(parked_id: UUID) -> Report:
        return keys.release(parked_id=parked_id, operator=operator, using=using)

    found = list(gaps(consumer, topic=topic, using=using).values_list("id", flat=True))
    return _each(act, found, told=told, rate=rate, stop=stop)


def _ids(selection: Selection, using: str) -> list[UUID]:
    return list(selection.letters(using=using).values_list("id", flat=True))


def _each(
    act: Callable[[UUID], Report],
    ids: list[UUID],
    *,
    told: Told,
    rate: float | None,
    stop: threading.Event | None,
) -> Counter[Result]:
    pace, results = Pace(rate, stop=stop or threading.Event()), Counter[Result]()
    for which in ids:
        if not pace.wait():
            break
        try:
            report = act(which)
        except RepairRefused as error:
            report = Report(Result.NOTHING, str(error).rstrip("."))
        results[report.result] += 1
        told(which, report)
    return results
