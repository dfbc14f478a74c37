"""Pausing a consumer, and having it go on: by an operator, or by itself when many keys fail for one reason.

The state is a row in the consumer's database. Its instances look at it twice a second. Paused, they stay
members of their group, keep polling and process nothing, also those that are started meanwhile.
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connections, transaction

from outbox.consumer_models import ConsumerState
from outbox.errors import NotAsShown
from outbox.generations import live_generation
from outbox.registry import Consumer
from outbox.repair.acts import Operator, Steered, Via, write_down_steering

LOOK_SECONDS = 0.5
ITSELF = "the consumer itself"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when a consumer is paused, by whom, and why."""

    at: datetime
    by: str
    reason: str


def pause(*, consumer: Consumer, by: str, reason: str = "", via: Via = Via.PYTHON) -> Pause:
    """Have every instance stop processing, until `resume`; written down as an act.

    Each notices within about a second of the end of what it has in hand: see BATCH_SECONDS.
    One that is paused already stays as it is: the answer says by whom. Raises NothingSaid for nobody.
    """
    operator = Operator(by, reason, via)
    with transaction.atomic(using=consumer.using), connections[consumer.using].cursor() as sql:
        sql.execute(
            "INSERT INTO outbox_consumer AS mine (name, paused_at, paused_by, reason)"
            " VALUES (%s, clock_timestamp(), %s, %s) ON CONFLICT (name) DO UPDATE"
            " SET paused_at = EXCLUDED.paused_at, paused_by = EXCLUDED.paused_by, reason = EXCLUDED.reason"
            " WHERE mine.paused_at IS NULL",
            [consumer.name, operator.name, operator.reason],
        )
        if sql.rowcount:
            _write_down(operator, "pause", Steered.PAUSED, consumer)
            logger.warning("consumer %s is paused by %s: %s", consumer.name, by, reason or "no reason given")
    # Resumed in between, it has been paused all the same.
    return pause_of(consumer) or Pause(datetime.now().astimezone(), by, reason)


def resume(
    *, consumer: Consumer, by: str, reason: str = "", via: Via = Via.PYTHON, shown: str | None = None
) -> bool:
    """Have every instance go on, where it was; whether it was paused. Written down if it was.

    shown  the mark of the pause of which the operator was told: no other one is lifted

    Raises NothingSaid for nobody, NotAsShown when it is in another pause.
    """
    operator = Operator(by, reason, via)
    with transaction.atomic(using=consumer.using), connections[consumer.using].cursor() as sql:
        sql.execute("SELECT FROM outbox_consumer WHERE name = %s FOR UPDATE", [consumer.name])
        present = pause_of(consumer)
        if present is None:
            return False
        if shown is not None and shown != mark(present):
            raise NotAsShown(
                f"By now it is paused by {present.by}, since {present.at:%F %T} UTC:"
                f" {present.reason or 'no reason was given'}. That is not what was shown: nothing was done."
            )
        sql.execute(
            "UPDATE outbox_consumer SET paused_at = NULL, paused_by = '', reason = '',"
            " resumed_at = clock_timestamp() WHERE name = %s",
            [consumer.name],
        )
        _write_down(operator, "resume", Steered.RESUMED, consumer)
        logger.warning("consumer %s is resumed by %s: %s", consumer.name, by, reason or "no reason given")
        return True


def mark(pause: Pause | None) -> str:
    """By which a pause is known from another one; - for none."""
    return "-" if pause is None else mark_at(pause.at)


def mark_at(paused_at: datetime) -> str:
    """That of the pause since this moment."""
    return paused_at.astimezone(UTC).isoformat()


def _write_down(operator: Operator, act: str, result: Steered, consumer: Consumer) -> None:
    detail = f"Its instances {'process nothing' if result is Steered.PAUSED else 'go on'}."
    write_down_steering(operator, act, result, detail, consumer=consumer.name, using=consumer.using)


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def pause_of(consumer: Consumer) -> Pause | None:
    """The pause that a consumer is in; None when it runs."""
    state = ConsumerState.objects.using(consumer.using).filter(name=consumer.name).first()
    if state is None or state.paused_at is None:
        return None
    return Pause(state.paused_at, state.paused_by, state.reason)


def all_pauses(*, using: str) -> dict[str, Pause]:
    """The pauses of this database's consumers that are paused, by their names."""
    paused = ConsumerState.objects.using(using).filter(paused_at__isnull=False)
    return {row.name: Pause(row.paused_at, row.paused_by, row.reason) for row in paused if row.paused_at}


class Gate:
    """What an instance knows of its consumer's pause, at most LOOK_SECONDS old."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._pause: Pause | None = None
        self._looked_at = -LOOK_SECONDS

    def is_closed(self) -> bool:
        """Whether the consumer is paused. Raises the database's errors."""
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            pause = pause_of(self._consumer)
            self._looked_at = time.monotonic()
            if (pause is None) != (self._pause is None):
                state = "not paused any more" if pause is None else f"paused by {pause.by}: {pause.reason}"
                logger.warning("consumer %s is %s", self._consumer.name, state)
            self._pause = pause
        return self._pause is not None

    def trips(
        self, *, keys: int, within: timedelta, fingerprint: str, failure: str, in_a_row: int = 1
    ) -> bool:
        """Pause the consumer when so many keys have failed with one fingerprint.

        Counted are the dead letters of all instances within this time, since it was last resumed, with one
        more that is about to be written; or those that this instance had in a row, however long it took: of
        failures that take long, as timeouts do, there are few in a minute. Raises the database's errors.
        """
        live = live_generation(self._consumer.name, using=self._consumer.using)
        with connections[self._consumer.using].cursor() as sql:
            sql.execute(
                "SELECT count(DISTINCT (topic, coalesce(key, event_id::text))) FROM outbox_dead_letter"
                " WHERE consumer = %s AND generation = %s AND fingerprint = %s"
                " AND died_at > greatest(now() - make_interval(secs => %s),"
                " (SELECT resumed_at FROM outbox_consumer WHERE name = %s))",
                [self._consumer.name, live, fingerprint, within.total_seconds(), self._consumer.name],
            )
            failed = int(sql.fetchone()[0]) + 1
        if max(failed, in_a_row) < keys:
            return False
        how = (
            f"{failed} keys failed within {_span(within)}"
            if failed >= keys
            else f"{in_a_row} events failed in a row"
        )
        pause(
            consumer=self._consumer,
            by=ITSELF,
            via=Via.WORKER,
            reason=f"{how} with one fingerprint, {fingerprint}: {failure}",
        )
        self._looked_at = -LOOK_SECONDS
        return True
