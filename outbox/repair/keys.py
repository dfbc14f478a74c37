"""What an operator does about a parked key: release it, and have what waits behind it run, in order."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS

from outbox.errors import EarlierLetter, LetterSuperseded, NoSuchParkedKey, NotAsShown
from outbox.generations import being_built
from outbox.inbox import Key
from outbox.models import DeadLetter, LetterState, ParkCause, ParkedKey
from outbox.policies import Verdict
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Operator, Report, Result, write_down
from outbox.repair.behind import numbers
from outbox.repair.rerun import Rerun, carry_out

# A release is written down with a reason, also where the act that it goes on with needed none.
_GOING_ON = "going on with what waited"


def release(
    *,
    parked_id: UUID,
    operator: Operator,
    shown: range | None = None,
    to_the_end: bool = True,
    using: str = DEFAULT_DB_ALIAS,
) -> Report:
    """Give up the events that a key waits for, for a reason, and run what waits, in order, to the next gap.

    Should one that was given up arrive later, it becomes a dead letter (LateEvent).

    shown  the missing numbers of which the operator was told: no others are given up

    Raises NothingSaid without a reason, NoSuchParkedKey, UnknownConsumer, LetterSuperseded; EarlierLetter
    when it is a dead letter that holds the key; NotAsShown when other numbers are missing by now.
    """
    operator.must_say_why()
    row = ParkedKey.objects.using(using).filter(id=parked_id).first()
    if row is None:
        raise NoSuchParkedKey(
            f"No parked key has the id {parked_id}: it has been released, if it was parked."
        )
    consumer, key = get_consumer(row.consumer), (row.topic, row.key)

    def transaction(batch: Rerun) -> Report:
        parked = batch.take(key)
        if row.generation != batch.generation:
            raise LetterSuperseded(
                f"Generation {row.generation} of {row.consumer} is not the live one any more."
            )
        if parked is None:
            report = Report(Result.NOTHING, "Nothing to do: the key has been released meanwhile.")
        else:
            _refuse_letter(batch, parked)
            missing = batch.missing(key)
            _refuse_others(missing, shown)
            batch.skip(key, missing)
            done = f"It is released without {numbers(missing)}" if missing else "It is released"
            report = batch.tell(Result.RELEASED, done, waiting=batch.drain(key))
        batch.finish()
        _write_down(batch, operator, report, key, None if parked is None else parked.event_id)
        return report

    building = being_built(consumer, row.generation)
    report = carry_out(consumer, transaction, building=building)
    if not to_the_end:
        return report
    return go_on(consumer, row.generation, key, after=report, operator=operator, building=building)


def go_on(
    consumer: Consumer,
    generation: int,
    key: Key,
    *,
    operator: Operator,
    after: Report | None = None,
    building: int | None = None,
) -> Report:
    """Run what still waits behind a key that is being released, a transaction after the other.

    Until nothing is left, or something fails. What comes meanwhile waits behind the rest. Returns `after`,
    what was done before, with this added.
    """
    report = after or Report(Result.NOTHING, "Nothing to do: the key is not being released.")
    while (more := go_on_once(consumer, generation, key, operator=operator, building=building)) is not None:
        report = more if report.result is Result.NOTHING and not after else report.and_then(more)
        after = report
    return report


def go_on_once(
    consumer: Consumer,
    generation: int,
    key: Key,
    *,
    operator: Operator,
    building: int | None = None,
    most: int | None = None,
    condemned: Mapping[UUID, Verdict] | None = None,
) -> Report | None:
    """As go_on(), in one transaction. None when the key is not being released any more.

    `most` and `condemned` are those of carry_out().
    """
    if not operator.reason.strip():
        operator = replace(operator, reason=_GOING_ON)

    def transaction(batch: Rerun) -> Report | None:
        parked = batch.take(key)
        if batch.generation != generation or parked is None or parked.cause != ParkCause.RELEASED:
            return None
        report = batch.tell(Result.RELEASED, "Going on", waiting=batch.drain(key))
        batch.finish()
        _write_down(batch, operator, report, key, parked.event_id)
        return report

    return carry_out(consumer, transaction, building=building, most=most, condemned=condemned)


def _refuse_letter(batch: Rerun, parked: ParkedKey) -> None:
    """Raises EarlierLetter when it is a dead letter that holds the key."""
    letter = (
        DeadLetter.objects.using(batch.using)
        .filter(
            consumer=parked.consumer,
            generation=parked.generation,
            event_id=parked.event_id,
            state=LetterState.OPEN,
        )
        .first()
    )
    if letter is not None:
        raise EarlierLetter(f"Dead letter {letter.id} holds the key: replay or discard that one.")


def _refuse_others(missing: range, shown: range | None) -> None:
    """Raises NotAsShown when the key waits for other numbers than the operator was told of."""
    if shown is None or shown == missing:
        return
    now = f"It waits for {numbers(missing)} by now" if missing else "Nothing is missing any more"
    raise NotAsShown(f"{now}, and {numbers(shown) or 'nothing'} was shown: nothing was given up. Look again.")


def _write_down(batch: Rerun, operator: Operator, report: Report, key: Key, event_id: UUID | None) -> None:
    write_down(
        operator,
        "release",
        report,
        using=batch.using,
        consumer=batch.consumer_name,
        generation=batch.generation,
        event_id=event_id,
        topic=key[0],
        key=key[1],
    )
