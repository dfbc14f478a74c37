"""Rebuilds that are asked for and not waited for: a worker carries them out, a slice of time after the other.

Who asked may go, and so may any worker: the next one goes on where that one was. Between two slices whoever
else needs the worker has it.
"""

import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError, connections, transaction

from outbox import clock, succession
from outbox.aside import storable
from outbox.clearing import clear
from outbox.consumer_models import RebuildRequest
from outbox.errors import GenerationEnded, NotAsShown, OutboxError, RebuildUnderWay
from outbox.generations import being_built, take_next
from outbox.kafka import BrokerError
from outbox.models import Generation, GenerationState
from outbox.progress import Progress
from outbox.rebuild import Rebuild
from outbox.recovery import Family, family_of
from outbox.registry import Consumer, all_consumers
from outbox.repair.acts import Operator, Steered, Via, write_down_steering

# Celery gives a task to another worker when it has not ended within a minute.
SLICE_SECONDS = 20.0
# How often progress is written, and over which time its rate is taken.
EVERY = 1.0
RATE_SECONDS = 10.0
# A worker that has begun says so sooner: by then it is a command that is at it.
ELSEWHERE = timedelta(seconds=10)

_ASK = """
INSERT INTO outbox_rebuild AS mine (consumer, generation, asked_by, why, via, drop_history)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (consumer) DO UPDATE SET generation = EXCLUDED.generation, asked_at = EXCLUDED.asked_at,
    asked_by = EXCLUDED.asked_by, why = EXCLUDED.why, via = EXCLUDED.via,
    drop_history = EXCLUDED.drop_history, told_at = NULL, note = '', error = ''
WHERE mine.error <> '' OR mine.generation <> EXCLUDED.generation
"""


def request_rebuild(
    *, consumer: Consumer, operator: Operator, drop_history: bool = False, shown: str | None = None
) -> bool:
    """Have a projection built again, or go on with what is half built; whether that is news.

    One that is under way stays as it is; one that has stopped for good is taken up again. Written down as an
    act when it is news, and again when the new generation is live.

    drop_history  have only what Kafka still has, and lose what the live generation alone has
    shown         the mark of the half-built generation of which the operator was told

    Raises NotAProjection, NotAsShown when it would be another one with which it goes on, or begins.
    """
    succession.projection_of(consumer)
    with transaction.atomic(using=consumer.using), connections[consumer.using].cursor() as sql:
        take_next(consumer.name, using=consumer.using)
        half = half_built(consumer)
        number = succession.begin(consumer)
        sql.execute(
            _ASK,
            [
                consumer.name,
                number,
                operator.name,
                operator.reason,
                operator.via,
                drop_history,
            ],
        )
        if not sql.rowcount:
            return False
        _refuse_another(half if half is not None and half.generation == number else None, shown)
        lost = " What Kafka no longer has is given up." if drop_history else ""
        write_down_steering(
            operator,
            "rebuild",
            Steered.BEGUN,
            f"Generation {number} is built beside the live one.{lost}",
            consumer=consumer.name,
            generation=number,
            using=consumer.using,
        )
        return True


def request_of(consumer: Consumer) -> RebuildRequest | None:
    """The rebuild that is under way or has stopped; None when nobody has asked, or it is over."""
    return RebuildRequest.objects.using(consumer.using).filter(consumer=consumer.name).first()


def half_built(consumer: Consumer) -> Generation | None:
    """The generation that is being built."""
    rows = Generation.objects.using(consumer.using)
    return rows.filter(consumer=consumer.name, state=GenerationState.BUILDING).first()


def _given_up(consumer: Consumer) -> Generation | None:
    """The generation that was given up last, until what it built is cleared away."""
    rows = Generation.objects.using(consumer.using)
    return rows.filter(consumer=consumer.name, state=GenerationState.ABANDONED).order_by("generation").last()


def mark(half: Generation | None) -> str:
    """By which a half-built generation is known from another one, of the same number, too; - for none."""
    return "-" if half is None else f"{half.generation} of {half.started_at.astimezone(UTC).isoformat()}"


def _refuse_another(half: Generation | None, shown: str | None) -> None:
    if shown in (None, mark(half)):
        return
    now = "no generation is half built" if half is None else f"generation {half.generation} is half built"
    raise NotAsShown(f"By now {now}. That is not what was shown: nothing was done.")


def give_up(*, consumer: Consumer, operator: Operator, shown: str | None = None) -> list[int]:
    """Give the half-built generation up; return the numbers. What it built is removed by a worker, soon.

    A batch of it that is under way is waited for.

    shown  the mark of the one of which the operator was told: no other one is given up

    Raises NotAProjection, NothingToAbandon, NotAsShown.
    """
    succession.projection_of(consumer)
    with transaction.atomic(using=consumer.using), connections[consumer.using].cursor() as sql:
        take_next(consumer.name, using=consumer.using)
        half = half_built(consumer)
        if half is not None or shown != mark(_given_up(consumer)):  # a form that is sent twice is one act
            _refuse_another(half, shown)
        numbers = succession.abandon(consumer, operator=operator)
        # A worker is to clear away also what a command had begun.
        sql.execute(
            "INSERT INTO outbox_rebuild (consumer, generation, asked_by, why, via)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (consumer) DO UPDATE SET note = '', error = ''",
            [consumer.name, numbers[-1], operator.name, operator.reason, operator.via],
        )
    return numbers


def go_on_with_rebuilds(*, seconds: float = SLICE_SECONDS) -> int:
    """Carry out what was asked for, of each projection for so many seconds; return how many are over.

    May run at any time and beside itself: what another process is at is left to it. Raises what is no one's
    decision; it is kept for the page, too.
    """
    ended = 0
    for consumer in all_consumers():
        if consumer.projection is not None and (request := request_of(consumer)) and not request.error:
            ended += _go_on(consumer, request, seconds=seconds)
    return ended


def _go_on(consumer: Consumer, request: RebuildRequest, *, seconds: float) -> bool:
    """Whether it is over."""
    notes = _Notes(consumer, request.generation)
    try:
        if being_built(consumer, request.generation) is None or _build(consumer, request, notes, seconds):
            # Live, or given up: what was left behind goes.
            clear(consumer)
            notes.end()
            return True
    except RebuildUnderWay:
        if request.told_at is None and clock.now(using=consumer.using) - request.asked_at > ELSEWHERE:
            notes.say("another process is at it")
    except GenerationEnded:
        pass  # given up in this moment: the next turn clears away
    except (BrokerError, DatabaseError) as error:
        if family_of(error) not in {Family.RECOVERABLE, Family.CONTENTION}:
            notes.stop(error)
            raise
        notes.say(f"it waits: {error}")
    except OutboxError as error:
        notes.stop(error)
    except Exception as error:
        notes.stop(error)
        raise
    return False


def _build(consumer: Consumer, request: RebuildRequest, notes: "_Notes", seconds: float) -> bool:
    stop = threading.Event()
    end = threading.Timer(seconds, stop.set)
    end.start()
    try:
        return Rebuild(
            consumer,
            stop=stop,
            report=notes.report,
            tell=notes.say,
            drop_history=request.drop_history,
            operator=Operator(request.asked_by, request.why, Via(request.via)),
            generation=request.generation,
        ).run()
    finally:
        end.cancel()


class _Notes:
    """What is kept of a rebuild for those who watch it."""

    def __init__(self, consumer: Consumer, generation: int) -> None:
        self._rows = RebuildRequest.objects.using(consumer.using).filter(
            consumer=consumer.name, generation=generation
        )
        self._using = consumer.using
        self._read: deque[tuple[float, int]] = deque()
        self._told_at = -EVERY

    def report(self, progress: Progress) -> None:
        """About once a second."""
        now = time.monotonic()
        if now - self._told_at < EVERY:
            return
        self._told_at = now
        self._read.append((now, progress.read))
        while now - self._read[0][0] > RATE_SECONDS:
            self._read.popleft()
        began, first = self._read[0]
        fresh: dict[str, Any] = {"note": ""} if len(self._read) == 1 else {}
        if now - began >= 2 * EVERY:
            fresh["per_second"] = (progress.read - first) / (now - began)
        self._rows.update(read=progress.read, records=progress.records, told_at=self._now(), **fresh)

    def say(self, text: str) -> None:
        """What an operator should know; until it goes on."""
        self._rows.update(note=storable(text))

    def stop(self, error: Exception) -> None:
        """It does not go on by itself."""
        name = "" if isinstance(error, OutboxError) else f"{type(error).__name__}: "
        connections[self._using].close()
        self._rows.update(error=storable(f"{name}{error}") or type(error).__name__, told_at=self._now())

    def end(self) -> None:
        """It is over."""
        self._rows.delete()

    def _now(self) -> datetime:
        return clock.now(using=self._using)
