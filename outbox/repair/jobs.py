"""Acts on all that match, done by workers: no request waits for them, and nothing that is killed ends them.

A job is a row with what is wanted and how far it has come. Workers take one letter after the other, each in
one transaction with its Act and the job's progress: no letter is acted on twice, and what was cut short is
gone on with. One worker at a time has a job in hand; it can be stopped between two letters.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models import Q
from django.db.models.functions import Now

from outbox import clock
from outbox.aside import storable
from outbox.errors import NoSuchJob, RepairRefused, UnknownConsumer
from outbox.models import DeadLetter, fresh_id
from outbox.repair import letters
from outbox.repair.acts import Operator, Report, Result, Via
from outbox.repair.matching import Selection, extent

logger = logging.getLogger(__name__)


class JobState(models.TextChoices):
    """How a job stands."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


class RepairJob(models.Model):
    """An act on many dead letters, and how far it has come.

    act         replay or discard
    wanted      the Selection; `until` is never later than when it was asked for
    late        replay also those whose place in their key has been passed
    total       how many matched when it was asked for; at least so many where `more` says so
    results     how many came to which Result
    after_died  with `after_id`, the letter that was acted on last
    trouble     what keeps it from going on at the moment; empty when nothing does
    worked_at   when the last letter was acted on
    """

    id = models.UUIDField(primary_key=True, default=fresh_id)
    asked_at = models.DateTimeField(db_default=Now())
    who = models.TextField()
    via = models.TextField()
    why = models.TextField()
    act = models.TextField()
    late = models.BooleanField(default=False)
    wanted = models.JSONField()
    total = models.IntegerField()
    more = models.BooleanField()
    state = models.TextField(choices=JobState, default=JobState.RUNNING)
    results = models.JSONField(default=dict)
    ran = models.IntegerField(default=0)
    after_died = models.DateTimeField(null=True)
    after_id = models.UUIDField(null=True)
    trouble = models.TextField(default="")
    worked_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.TextField(default="")

    class Meta:
        db_table = "outbox_repair_job"
        default_permissions = ("view",)
        verbose_name = "job on dead letters"
        verbose_name_plural = "jobs on dead letters"

    def __str__(self) -> str:
        return f"{self.act} by {self.who}: {self.done} of {self.total:,}{'+' if self.more else ''}"

    @property
    def done(self) -> int:
        """How many letters have been acted on."""
        return sum(self.results.values())

    @property
    def selection(self) -> Selection:
        """Which letters are meant."""
        return msgspec.convert(self.wanted, Selection)

    def note(self, letter: DeadLetter, report: Report, *, now: datetime) -> None:
        """Add what came of a letter."""
        self.results = {**self.results, report.result: self.results.get(report.result, 0) + 1}
        self.ran += report.ran
        self.after_died, self.after_id = letter.died_at, letter.id
        self.worked_at, self.trouble = now, ""

    def next_letter(self, *, using: str) -> DeadLetter | None:
        """The first letter that has not been acted on; None when the job is done."""
        found = self.selection.letters(using=using).only("id", "died_at")
        if self.after_died is not None:
            later = Q(died_at__gt=self.after_died) | Q(id__gt=self.after_id)
            found = found.filter(later, died_at__gte=self.after_died)
        return found.first()


def begin(
    *,
    act: str,
    selection: Selection,
    operator: Operator,
    late: bool = False,
    job_id: UUID | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> RepairJob:
    """Have workers replay or discard each letter that matches now; what dies meanwhile is not among them.

    A `job_id` that is known already is that job, and nothing new begins: so a form that is sent twice is one.

    Raises NothingSelected, and NothingSaid for a discard without a reason.
    """
    _ACTS[act]  # a KeyError is a mistake in the caller
    selection.check()
    if act == "discard":
        operator.must_say_why()
    now = clock.now(using=using)
    until = now if selection.until is None else min(now, selection.until)
    selection = replace(selection, until=until)
    reach = extent(selection, using=using)
    job, _ = RepairJob.objects.using(using).get_or_create(
        id=job_id or fresh_id(),
        defaults={
            "who": storable(operator.name),
            "via": operator.via,
            "why": storable(operator.reason),
            "act": act,
            "late": late,
            "wanted": msgspec.to_builtins(selection),
            "total": reach.letters,
            "more": reach.more,
        },
    )
    return job


def stop(*, job_id: UUID, operator: Operator, using: str = DEFAULT_DB_ALIAS) -> RepairJob:
    """Have a job do nothing more, after the letter in hand. One that has ended stays as it is.

    Raises NoSuchJob.
    """
    jobs = RepairJob.objects.using(using).filter(id=job_id)
    jobs.filter(state=JobState.RUNNING).update(
        state=JobState.STOPPED, ended_at=clock.now(using=using), ended_by=storable(operator.name)
    )
    return get_job(job_id, using=using)


def get_job(job_id: UUID, *, using: str = DEFAULT_DB_ALIAS) -> RepairJob:
    """The job of this id. Raises NoSuchJob."""
    job = RepairJob.objects.using(using).filter(id=job_id).first()
    if job is None:
        raise NoSuchJob(f"There is no job {job_id}.")
    return job


def work(*, seconds: float = 2.0, using: str = DEFAULT_DB_ALIAS) -> int:
    """Act on letters of running jobs for about so long; how many were acted on. For workers, in turns.

    A job that cannot go on (its database or network is away) says why, and leaves the turn to the others.
    """
    end, acted = time.monotonic() + seconds, 0
    passed: set[UUID] = set()
    while time.monotonic() < end:
        stepped = _step(passed, using=using)
        if stepped is None:
            break
        acted += stepped
    return acted


def _step(passed: set[UUID], *, using: str) -> int | None:
    """Act on the next letter of the job that has waited longest; None when there is nothing to do."""
    job: RepairJob | None = None
    try:
        with transaction.atomic(using=using):
            running = RepairJob.objects.using(using).filter(state=JobState.RUNNING).exclude(id__in=passed)
            waiting = running.select_for_update(skip_locked=True)
            job = waiting.order_by(models.F("worked_at").asc(nulls_first=True), "id").first()
            if job is None:
                return None
            return _act_on_next(job, using=using)
    except Exception as error:
        if job is None:
            raise
        passed.add(job.id)
        logger.warning("%s cannot go on: %s: %s", job, type(error).__name__, error)
        trouble = storable(f"{type(error).__name__}: {error}")
        RepairJob.objects.using(using).filter(id=job.id, state=JobState.RUNNING).update(trouble=trouble)
        return 0


def _act_on_next(job: RepairJob, *, using: str) -> int:
    letter, now = job.next_letter(using=using), clock.now(using=using)
    if letter is None:
        job.state, job.ended_at, job.trouble = JobState.DONE, now, ""
    else:
        job.note(letter, _report(job, letter, using=using), now=now)
    job.save(using=using)
    return 0 if letter is None else 1


def _report(job: RepairJob, letter: DeadLetter, *, using: str) -> Report:
    operator = Operator(job.who, job.why, Via(job.via))
    try:
        return _ACTS[job.act](letter.id, operator, job.late, using)
    except (RepairRefused, UnknownConsumer) as error:
        return Report(Result.NOTHING, str(error).rstrip("."))


def _replay(letter_id: UUID, operator: Operator, late: bool, using: str) -> Report:
    return letters.replay(letter_id=letter_id, operator=operator, late=late, to_the_end=False, using=using)


def _discard(letter_id: UUID, operator: Operator, late: bool, using: str) -> Report:
    return letters.discard(letter_id=letter_id, operator=operator, to_the_end=False, using=using)


_ACTS: dict[str, Callable[[UUID, Operator, bool, str], Report]] = {"replay": _replay, "discard": _discard}
