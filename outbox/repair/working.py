"""What workers do about a job: one letter after the other, each once, whatever is killed meanwhile.

One worker at a time has a job in hand, by an advisory lock: the job's row stays free for whoever stops it. A
letter is marked in the row before it is acted on (outbox/in_hand.py). After a death it is acted on by itself,
without what waits behind it; at its third it is passed over.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, Error, models, transaction
from django.db.models import QuerySet

from outbox import clock, in_hand
from outbox.aside import storable
from outbox.errors import EarlierLetter, RepairRefused, UnknownConsumer
from outbox.generations import try_lock
from outbox.models import DeadLetter
from outbox.repair import letters
from outbox.repair.acts import Report, Result, write_down
from outbox.repair.jobs import DRY_RUN, JobState, RepairJob
from outbox.suspects import DEATHS

# Of so many jobs at once, the one that has waited longest and can go on is taken.
LOOKED_AT = 50
# The class of the advisory locks: "obxj" in ASCII.
_WORKER_CLASS = 0x6F62786A

logger = logging.getLogger(__name__)


def work(*, seconds: float = 2.0, using: str = DEFAULT_DB_ALIAS) -> int:
    """Act on letters of running jobs for about so long; how many were acted on. For workers, in turns.

    A job that cannot go on (its database or network is away) says why, and leaves the turn to the others. One
    with a rate waits for its turn.
    """
    acted = 0
    try:
        for done in _steps(time.monotonic() + seconds, using=using):
            acted += done
    except Exception:
        with suppress(Error):
            _let_go(using=using)
        raise
    # Not where a handler ends the process (SystemExit): it is as deadly as one that is killed.
    _let_go(using=using)
    return acted


def _steps(end: float, *, using: str) -> Iterator[int]:
    """How many letters each step acted on, until the time is over or nothing is left to be done now."""
    passed: set[UUID] = set()
    while (left := end - time.monotonic()) > 0:
        stepped = _step(passed, using=using)
        if stepped is not None:
            yield stepped
        elif (pause := _until_due(passed, using=using)) is not None and pause < left:
            time.sleep(pause)
        else:
            return


def _let_go(*, using: str, job: RepairJob | None = None) -> None:
    """This worker has come away alive from what it had in hand, of this job or of all."""
    mine = RepairJob.objects.using(using).filter(state=JobState.RUNNING, in_hand_by=in_hand.me())
    (mine if job is None else mine.filter(id=job.id)).update(in_hand_by="")


def _step(passed: set[UUID], *, using: str) -> int | None:
    """Mark the next letter of the job that has waited longest, or act on the marked one, in one transaction.

    How many were acted on; None when there is nothing to do now.
    """
    job: RepairJob | None = None
    try:
        with transaction.atomic(using=using):
            job = _take(passed, using=using)
            if job is None:
                return None
            try:
                with transaction.atomic(using=using):
                    return _go_on(job, passed, using=using)
            except Exception as error:  # noqa: BLE001  (told while nobody else can have the job)
                _tell(job, error, using=using)
    except Exception as error:
        if job is None:
            raise
        _tell(job, error, using=using)  # its session has ended
    passed.add(job.id)
    return 0


def _tell(job: RepairJob, error: Exception, *, using: str) -> None:
    """Say in its row why it cannot go on. Its letter has killed nobody."""
    logger.warning("%s cannot go on: %s: %s", job, type(error).__name__, error)
    trouble = storable(f"{type(error).__name__}: {error}")
    RepairJob.objects.using(using).filter(id=job.id, state=JobState.RUNNING).update(trouble=trouble)
    _let_go(using=using, job=job)


def _running(passed: set[UUID], *, using: str) -> list[RepairJob]:
    running: QuerySet[RepairJob] = RepairJob.objects.using(using).filter(state=JobState.RUNNING)
    longest = running.exclude(id__in=passed).order_by(models.F("worked_at").asc(nulls_first=True), "id")
    return list(longest[:LOOKED_AT])


def _take(passed: set[UUID], *, using: str) -> RepairJob | None:
    """The job to go on with, which is this worker's until the transaction ends."""
    now = clock.now(using=using)
    for job in _running(passed, using=using):
        if job.due_at is not None and job.due_at > now:
            continue
        if try_lock(_WORKER_CLASS, str(job.id), using=using):
            job.refresh_from_db(using=using)  # another one may have been at it until now
            if job.state == JobState.RUNNING and (job.due_at is None or job.due_at <= now):
                return job
    return None


def _until_due(passed: set[UUID], *, using: str) -> float | None:
    """Seconds to the turn of the next job with a rate; None when none has one."""
    turns = [job.due_at for job in _running(passed, using=using) if job.due_at is not None]
    return max((min(turns) - clock.now(using=using)).total_seconds(), 0.1) if turns else None


def _go_on(job: RepairJob, passed: set[UUID], *, using: str) -> int:
    letter, now = job.next_letter(using=using), clock.now(using=using)
    if letter is None:
        _end(job, now, using=using)
        return 0
    if job.in_hand == letter.id and job.in_hand_by == in_hand.me():
        job.note(letter, _report(job, letter, using=using), now=now)
        _keep(job, now, using=using)
        return 1
    deaths = job.deaths_with(letter.id, now=now)
    if deaths is None:
        passed.add(job.id)
        return 0
    if deaths >= DEATHS:
        job.note(letter, _pass_over(job, letter, deaths, using=using), now=now)
        _keep(job, now, using=using)
        return 1
    marked = RepairJob.objects.using(using).filter(id=job.id)
    marked.update(in_hand=letter.id, in_hand_by=in_hand.me(), in_hand_at=now, deaths=deaths)
    return 0


def _keep(job: RepairJob, now: datetime, *, using: str) -> None:
    """Store how far the job is, and mark the next letter; not its state, which others may have changed."""
    following = job.next_letter(using=using)
    RepairJob.objects.using(using).filter(id=job.id).update(
        results=job.results,
        ran=job.ran,
        failures=job.failures,
        after_died=job.after_died,
        after_id=job.after_id,
        worked_at=job.worked_at,
        trouble=job.trouble,
        in_hand=None if following is None else following.id,
        in_hand_by="" if following is None else in_hand.me(),
        in_hand_at=None if following is None else now,
        deaths=0,
    )
    if following is None:
        _end(job, now, using=using)


def _end(job: RepairJob, now: datetime, *, using: str) -> None:
    running = RepairJob.objects.using(using).filter(id=job.id, state=JobState.RUNNING)
    running.update(state=JobState.DONE, ended_at=now, trouble="")


def _report(job: RepairJob, letter: DeadLetter, *, using: str) -> Report:
    try:
        return _ACTS[job.act](letter.id, job, using)
    except EarlierLetter as error:  # of which a replay has kept nothing, if it is only tried
        return Report(Result.UNTRIED if job.dry_run else Result.NOTHING, str(error).rstrip("."))
    except (RepairRefused, UnknownConsumer) as error:
        return Report(Result.NOTHING, str(error).rstrip("."))


def _pass_over(job: RepairJob, letter: DeadLetter, deaths: int, *, using: str) -> Report:
    """Leave a letter as it is that has killed its process so often, and write that down."""
    letter = letters.get_letter(letter.id, using=using)
    error = f"{deaths} processes died with it in hand: killed, out of memory, or crashed in native code"
    report = Report(Result.DIED, "It is passed over", error=error, fingerprint="ProcessDied")
    if job.dry_run:
        return report
    write_down(
        job.operator,
        job.act,
        report,
        using=using,
        consumer=letter.consumer,
        generation=letter.generation,
        letter_id=letter.id,
        event_id=letter.event_id,
        topic=letter.topic,
        key=letter.key,
    )
    return report


def _replay(letter_id: UUID, job: RepairJob, using: str) -> Report:
    alone = job.deaths > 0
    return letters.replay(
        letter_id=letter_id,
        operator=job.operator,
        late=job.late,
        to_the_end=False,
        alone=alone,
        dry_run=job.dry_run,
        using=using,
    )


def _discard(letter_id: UUID, job: RepairJob, using: str) -> Report:
    alone = job.deaths > 0
    return letters.discard(
        letter_id=letter_id, operator=job.operator, to_the_end=False, alone=alone, using=using
    )


_ACTS: dict[str, Callable[[UUID, RepairJob, str], Report]] = {
    "replay": _replay,
    DRY_RUN: _replay,
    "discard": _discard,
}
