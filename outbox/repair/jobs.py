"""Acts on all that match, done by workers: no request waits for them, and nothing that is killed ends them.

A job is a row with what is wanted and how far it has come. Workers (working.py) take one letter after the
other, each in one transaction with its Act and the job's progress: no letter is acted on twice, and what was
cut short is gone on with. It can be stopped between two letters.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import DEFAULT_DB_ALIAS, models, transaction
from django.db.models.functions import Now

from outbox import clock
from outbox.errors import MoreThanShown, NoSuchJob
from outbox.in_hand import InHand
from outbox.models import DeadLetter, fresh_id
from outbox.repair.acts import Operator, Report, Result, Steered, Via, write_down_steering
from outbox.repair.matching import Selection, extent

# A replay of which nothing is kept.
DRY_RUN = "dry_run"
# What is done in many, and the permission of `outbox` that it takes.
PERMISSIONS = {
    "replay": "replay_deadletter",
    DRY_RUN: "replay_deadletter",
    "discard": "discard_deadletter",
}
_TRIED: dict[str, str] = {
    Result.REPLAYED: "would be replayed",
    Result.DIED: "would die again",
    Result.NOTHING: "would be left",
    Result.UNTRIED: "behind an earlier one of their key, not tried",
}
# Of so many fingerprints a dry run tells an error, up to so many characters of it; the others are counted.
MOST_FAILURES = 20
LONGEST_ERROR = 300
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Failure:
    """So many letters would die again, or an event behind them, of one fingerprint; and an error of one."""

    fingerprint: str
    error: str
    letters: int


class JobState(models.TextChoices):
    """How a job stands."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


class RepairJob(InHand):
    """An act on many dead letters, and how far it has come.

    act         replay, discard, or dry_run: a replay of which nothing is kept
    wanted      the Selection; `until` is never later than when it was asked for
    late        replay also those whose place in their key has been passed
    per_second  letters, at most; null for as fast as it goes
    total       how many matched when it was asked for; at least so many where `more` says so
    results     how many came to which Result
    failures    of a dry run, by the fingerprint of what letters, or events behind them, died of: how many
                letters, and an error
    after_died  with `after_id`, the letter that was acted on last
    trouble     what keeps it from going on at the moment; empty when nothing does
    worked_at   when the last letter was acted on
    in_hand     the letter that a worker acts on next, with the other columns of InHand
    """

    id = models.UUIDField(primary_key=True, default=fresh_id)
    asked_at = models.DateTimeField(db_default=Now())
    who = models.TextField()
    via = models.TextField()
    why = models.TextField()
    act = models.TextField()
    late = models.BooleanField(default=False)
    per_second = models.FloatField(null=True)
    wanted = models.JSONField()
    total = models.IntegerField()
    more = models.BooleanField()
    state = models.TextField(choices=JobState, default=JobState.RUNNING)
    results = models.JSONField(default=dict)
    failures = models.JSONField(default=dict, db_default={})
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
        act, total = self.act.replace("_", " "), f"{self.total:,}{'+' if self.more else ''}"
        return f"{act} by {self.who}: {self.done:,} of {total}"

    @property
    def dry_run(self) -> bool:
        """Whether nothing is kept of what is done."""
        return self.act == DRY_RUN

    @property
    def would_fail(self) -> list[Failure]:
        """What a dry run found, the most frequent first; after MOST_FAILURES fingerprints the OTHERS."""
        found = [Failure(mark, error, many) for mark, (many, error) in self.failures.items()]
        return sorted(found, key=lambda failure: (failure.fingerprint == OTHERS, -failure.letters))

    @property
    def would_stop(self) -> int:
        """Behind how many of the letters that a dry run replayed an event would die."""
        failed = sum(failure.letters for failure in self.would_fail)
        return failed - self.results.get(Result.DIED, 0) if failed else 0

    @property
    def done(self) -> int:
        """How many letters have been acted on."""
        return sum(self.results.values())

    @property
    def came_of_it(self) -> list[tuple[str, int]]:
        """In words, how many letters came to what."""
        words = _TRIED if self.dry_run else {}
        return [(words.get(name, name), many) for name, many in self.results.items()]

    @property
    def selection(self) -> Selection:
        """Which letters are meant."""
        return msgspec.convert(self.wanted, Selection)

    @property
    def due_at(self) -> datetime | None:
        """When its rate lets the next letter be acted on; None for at once."""
        if self.per_second is None or self.worked_at is None:
            return None
        return self.worked_at + timedelta(seconds=1 / self.per_second)

    @property
    def operator(self) -> Operator:
        """In whose name workers act."""
        return Operator(self.who, self.why, Via(self.via), job=self.id)

    def note(self, letter: DeadLetter, report: Report, *, now: datetime) -> None:
        """Add what came of a letter."""
        self.results = {**self.results, report.result: self.results.get(report.result, 0) + 1}
        self.ran += report.ran
        if self.dry_run and report.error:
            told = report.fingerprint in self.failures or len(self.failures) < MOST_FAILURES
            mark, error = (report.fingerprint, report.error[:LONGEST_ERROR]) if told else (OTHERS, "")
            many, error = self.failures.get(mark, (0, error))
            self.failures = {**self.failures, mark: [many + 1, error]}
        self.after_died, self.after_id = letter.died_at, letter.id
        self.worked_at, self.trouble = now, ""

    def next_letter(self, *, using: str) -> DeadLetter | None:
        """The first letter that has not been acted on; None when the job is done."""
        if self.after_died is None or self.after_id is None:
            return self.selection.first(using=using)
        return self.selection.first(after=(self.after_died, self.after_id), using=using)


def begin(
    *,
    act: str,
    selection: Selection,
    operator: Operator,
    late: bool = False,
    per_second: float | None = None,
    shown: int | None = None,
    job_id: UUID | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> RepairJob:
    """Have workers replay or discard each letter that matches now; what dies meanwhile is not among them.

    act         a dry_run replays each and takes all of it back, letter by letter; it leaves no Act
    per_second  letters, at most; what waits behind them is not counted
    shown       how many the operator was told of: no more are acted on
    job_id      one that is known already is that job, and nothing new begins: so a form sent twice is one

    Raises NothingSelected, NothingSaid for a discard without a reason, MoreThanShown, and ValueError for
    another act or a rate that is none.
    """
    if act not in PERMISSIONS or (per_second is not None and not 0 < per_second < math.inf):
        raise ValueError(f"No job is {act} at {per_second} letters a second.")
    selection.check()
    if act == "discard":
        operator.must_say_why()
    now = clock.now(using=using)
    until = now if selection.until is None else min(now, selection.until)
    selection = replace(selection, until=until)
    with transaction.atomic(using=using):
        reach = extent(selection, using=using)
        job, is_new = RepairJob.objects.using(using).get_or_create(
            id=job_id or fresh_id(),
            defaults={
                "who": operator.name,
                "via": operator.via,
                "why": operator.reason,
                "act": act,
                "late": late,
                "per_second": per_second,
                "wanted": msgspec.to_builtins(selection),
                "total": reach.letters,
                "more": reach.more,
            },
        )
        if is_new:
            if shown is not None and reach.letters > shown:
                raise MoreThanShown(f"{reach.letters:,} match by now, and {shown:,} were shown: look again.")
            _write_down(operator, job, Steered.BEGUN, f"Job {job.id} begins: {reach.consequence(act)}")
    return job


def stop(*, job_id: UUID, operator: Operator, using: str = DEFAULT_DB_ALIAS) -> RepairJob:
    """Have a job do nothing more, after the letter in hand. One that has ended stays as it is.

    Raises NoSuchJob.
    """
    running = RepairJob.objects.using(using).filter(id=job_id, state=JobState.RUNNING)
    with transaction.atomic(using=using):
        stopped = running.update(
            state=JobState.STOPPED, ended_at=clock.now(using=using), ended_by=operator.name
        )
        job = get_job(job_id, using=using)
        if stopped:
            _write_down(operator, job, Steered.STOPPED, f"Job {job.id} stops after {job.done:,} letters.")
    return job


def _write_down(operator: Operator, job: RepairJob, result: Steered, detail: str) -> None:
    if job.dry_run:
        return
    using = job._state.db or DEFAULT_DB_ALIAS
    consumer = job.selection.consumer or ""
    write_down_steering(
        replace(operator, job=job.id), job.act, result, detail, consumer=consumer, using=using
    )


def get_job(job_id: UUID, *, using: str = DEFAULT_DB_ALIAS) -> RepairJob:
    """The job of this id. Raises NoSuchJob."""
    job = RepairJob.objects.using(using).filter(id=job_id).first()
    if job is None:
        raise NoSuchJob(f"There is no job {job_id}.")
    return job
