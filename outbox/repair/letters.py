"""What an operator does about one dead letter: replay it, corrected if need be, or discard it."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS

from outbox import clock
from outbox.bounded import Bounded
from outbox.errors import (
    CorrectionRefused,
    EarlierLetter,
    LetterSuperseded,
    NoSuchLetter,
    NotAsShown,
    RepairRefused,
)
from outbox.generations import being_built
from outbox.inbox import Key
from outbox.item import read_item, stored_record
from outbox.models import DeadLetter, LetterState, Outcome, ParkCause, ParkedKey, WaitingEvent
from outbox.registry import Consumer, get_consumer
from outbox.repair.acts import Operator, Report, Result, acts_on, write_down
from outbox.repair.behind import counted
from outbox.repair.keys import go_on
from outbox.repair.rerun import Rerun, carry_out


def replay(
    *,
    letter_id: UUID,
    operator: Operator,
    data: bytes | None = None,
    late: bool = False,
    to_the_end: bool = True,
    alone: bool = False,
    dry_run: bool = False,
    shown: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Report:
    """Have the consumer process a dead letter after all, then what waits behind it, in order.

    Stops at the next failure, which is a dead letter again and holds the key. A letter that was replayed or
    discarded already is left as it is, and said to be.

    data        corrected data: kept beside the original, seen by this consumer alone
    late        also when later events of its key have been processed, and so out of their order
    to_the_end  run all that waits, in as many transactions as it takes; else one, and workers go on
    alone       leave all that waits to workers
    dry_run     do it in one transaction, and take all of it back: what would come of it
    shown       the mark of the letter as the operator was told of it: otherwise nothing is done

    Raises NoSuchLetter, UnknownConsumer, LetterSuperseded, EarlierLetter, CorrectionRefused, NotAsShown, and
    what keeps the database away: then nothing was done since the last Act, and it can be asked for again.
    """
    letter = get_letter(letter_id, using=using)
    consumer = get_consumer(letter.consumer)
    if data is not None:
        check_correction(letter, data, consumer=consumer)

    def work(batch: Rerun, taken: DeadLetter) -> tuple[Result, str]:
        outcome = batch.rerun(taken, data=data, late=late)
        changed = "" if data is None else " with changed data"
        if outcome is Outcome.DEAD:
            return Result.DIED, f"It died again{changed}"
        if outcome is Outcome.UNHANDLED:
            return Result.REPLAYED, "It was passed: the consumer does not handle its type"
        return Result.REPLAYED, f"It has been processed{changed}"

    return _act(
        consumer,
        letter,
        work,
        operator=operator,
        act="replay",
        data=data,
        to_the_end=to_the_end,
        alone=alone,
        dry_run=dry_run,
        shown=shown,
    )


def discard(
    *,
    letter_id: UUID,
    operator: Operator,
    to_the_end: bool = True,
    alone: bool = False,
    shown: str | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> Report:
    """Give a dead letter up for good, for a reason, and run what waits behind it, in order.

    Raises as replay() does, and NothingSaid without a reason.
    """
    operator.must_say_why()
    letter = get_letter(letter_id, using=using)

    def work(batch: Rerun, taken: DeadLetter) -> tuple[Result, str]:
        batch.give_up(taken)
        return Result.DISCARDED, "It is discarded"

    return _act(
        get_consumer(letter.consumer),
        letter,
        work,
        operator=operator,
        act="discard",
        to_the_end=to_the_end,
        alone=alone,
        shown=shown,
    )


def mark(letter: DeadLetter) -> str:
    """Changes whenever something is done about the letter: by it one is known that was shown before."""
    using = letter._state.db or DEFAULT_DB_ALIAS
    last = acts_on(letter, using=using).values_list("id", flat=True).last()
    return f"{letter.state}-{letter.attempts}-{last}"


def get_letter(letter_id: UUID, *, using: str) -> DeadLetter:
    """The letter of this id. Raises NoSuchLetter."""
    letter = DeadLetter.objects.using(using).filter(id=letter_id).first()
    if letter is None:
        raise NoSuchLetter(f"There is no dead letter {letter_id}; a rebuild removes those of its generation.")
    return letter


def waiting_behind(letter: DeadLetter) -> Bounded:
    """How many events of the letter's key wait in its consumer."""
    waiting = WaitingEvent.objects.using(letter._state.db or DEFAULT_DB_ALIAS)
    mine = {"consumer": letter.consumer, "generation": letter.generation, "topic": letter.topic}
    return Bounded(0) if letter.key is None else counted(waiting.filter(**mine, key=letter.key))


def check_correction(letter: DeadLetter, data: bytes, *, consumer: Consumer) -> None:
    """Raises CorrectionRefused, saying what is wrong with the data, or why none can help."""
    now = clock.now(using=consumer.using)
    item = read_item(replace(stored_record(letter), value=data), consumer=consumer, now=now)
    if item.envelope is None:
        raise CorrectionRefused(f"No data can help: the record's headers cannot be read. {item.fault}")
    if item.route is None:
        raise CorrectionRefused(
            f"{consumer.name} handles no {item.type}: there is no contract to check the data against."
        )
    if item.fault is not None:
        raise CorrectionRefused(str(item.fault))


def _act(
    consumer: Consumer,
    letter: DeadLetter,
    work: Callable[[Rerun, DeadLetter], tuple[Result, str]],
    *,
    operator: Operator,
    act: str,
    to_the_end: bool,
    alone: bool = False,
    data: bytes | None = None,
    dry_run: bool = False,
    shown: str | None = None,
) -> Report:
    """Do this about a letter, run what waits behind it, and write it down, in one transaction; then go on."""
    key = None if letter.key is None else (letter.topic, letter.key)

    def transaction(batch: Rerun) -> Report:
        taken, parked = _take(batch, letter, key)
        if shown is not None and shown != mark(taken):
            raise NotAsShown("Somebody has acted on this letter since it was shown: nothing was done.")
        is_open = taken.state == LetterState.OPEN
        if is_open:
            result, done = work(batch, taken)
        else:
            result, done = Result.NOTHING, f"Nothing to do: it was {taken.state} at {taken.settled_at:%F %T}"
        lets_go = parked is not None and (is_open or parked.cause == ParkCause.RELEASED)
        if key is not None and lets_go and result is not Result.DIED:
            waiting = batch.drain(key)
        else:
            waiting = batch.count_waiting(key)
        report = batch.tell(result, done, waiting=waiting)
        batch.finish()
        write_down(
            operator,
            act,
            report,
            using=consumer.using,
            consumer=consumer.name,
            generation=batch.generation,
            letter_id=taken.id,
            event_id=taken.event_id,
            topic=taken.topic,
            key=taken.key,
            correction=data,
        )
        if dry_run:
            raise _OnlyTried(report)
        return report

    building = being_built(consumer, letter.generation)
    try:
        most = 0 if alone else None
        report = carry_out(consumer, transaction, building=building, attempts=letter.attempts, most=most)
    except _OnlyTried as tried:
        return tried.report
    if key is None or alone or not to_the_end:
        return report
    return go_on(consumer, letter.generation, key, after=report, operator=operator, building=building)


class _OnlyTried(RepairRefused):
    """What was tried is taken back."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.detail)
        self.report = report


def _take(batch: Rerun, letter: DeadLetter, key: Key | None) -> tuple[DeadLetter, ParkedKey | None]:
    """Lock the letter and its key. Raises LetterSuperseded, EarlierLetter, NoSuchLetter."""
    parked = batch.take(key)
    letters = DeadLetter.objects.using(batch.using)
    taken = letters.select_for_update().filter(id=letter.id).first()
    if taken is None:
        raise NoSuchLetter(f"There is no dead letter {letter.id} any more: a rebuild has removed it.")
    if taken.generation != batch.generation:
        raise LetterSuperseded(
            f"The dead letter is of generation {taken.generation} of {taken.consumer}, which generation"
            f" {batch.generation} has replaced: that one has judged the event for itself."
        )
    if taken.state == LetterState.OPEN and parked is not None and parked.event_id != taken.event_id:
        holding = letters.filter(
            consumer=taken.consumer,
            generation=taken.generation,
            event_id=parked.event_id,
            state=LetterState.OPEN,
        ).first()
        if holding is not None:
            raise EarlierLetter(f"Dead letter {holding.id} holds the key: replay or discard that one first.")
    return taken, parked
