"""The record of what operators did: who, what, why, when, and what came of it."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models import QuerySet
from django.db.models.functions import Now

from outbox import clock
from outbox.aside import storable
from outbox.bounded import Bounded
from outbox.errors import NothingSaid
from outbox.ids import new_id
from outbox.models import DeadLetter, OutboxEvent, fresh_id


class Via(models.TextChoices):
    """Through which door the operator came."""

    REST = "rest"
    ADMIN = "admin"
    DASHBOARD = "dashboard"
    COMMAND = "command"
    PYTHON = "python"
    WORKER = "worker"  # nobody: what was released is gone on with, what was decided is followed


class Result(models.TextChoices):
    """What came of it."""

    REPLAYED = "replayed"
    DIED = "died"
    DISCARDED = "discarded"
    RELEASED = "released"
    PENDING = "pending"  # begun, and nothing has said yet what came of it
    SENT = "sent"
    ASKED = "asked"  # for: the relay does it
    NOTHING = "nothing"  # to be done
    UNTRIED = "untried"  # in a dry run: an earlier letter of its key goes first


class Steered(models.TextChoices):
    """What came of an act on a consumer as a whole, and of the project's own commands."""

    PAUSED = "paused"
    RESUMED = "resumed"
    SKIPPED = "skipped"
    MOVED = "moved"
    BEGUN = "begun"
    STOPPED = "stopped"  # a job on dead letters
    REBUILT = "rebuilt"
    ABANDONED = "abandoned"
    SILENCED = "silenced"  # an alarm: nobody is told of it for a while
    UNSILENCED = "unsilenced"
    DONE = "done"  # a command of the project's own


ACTS = ("replay", "discard", "release", "resend", "pause", "resume", "seek", "rebuild", "abandon", "silence")
# After which it is an event behind it that an error is about.
_DONE = {Result.REPLAYED, Result.DISCARDED, Result.RELEASED}


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, why, and through which door, in words that can be stored. Raises NothingSaid for nobody.

    job  the job on dead letters that acts in the operator's name, if it is one
    """

    name: str
    reason: str = ""
    via: Via = Via.PYTHON
    job: UUID | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise NothingSaid("Say who does this: it is written down.")
        object.__setattr__(self, "name", storable(self.name))
        object.__setattr__(self, "reason", storable(self.reason))

    def must_say_why(self) -> None:
        """Raises NothingSaid without a reason."""
        if not self.reason.strip():
            raise NothingSaid("Say why, for those who come after: a reason is missing.")


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an act, as its operator is told.

    done     what was done first
    ran      how many events that had waited behind it ran
    waiting  how many still wait, and `waiting_more` when they are more than were counted
    error    why it died again, or what stopped the events behind it, and its fingerprint
    """

    result: Result
    done: str
    ran: int = 0
    waiting: int = 0
    waiting_more: bool = False
    error: str = ""
    fingerprint: str = ""

    @property
    def detail(self) -> str:
        """All of it, in a sentence."""
        ran = f"; {self.ran} that waited ran" if self.ran else ""
        behind = "; then one died" if self.result in _DONE else ""
        stopped = f"{behind}: {self.error.rstrip('.')}" if self.error else ""
        left = Bounded(self.waiting, self.waiting_more)
        waiting = f"; {left.least} still wait{'s' if self.waiting == 1 else ''}" if left else ""
        return f"{self.done}{ran}{stopped}{waiting}."

    def and_then(self, more: "Report") -> "Report":
        """This, with what was done afterwards about the events that waited."""
        return replace(more, result=self.result, done=self.done, ran=self.ran + more.ran)


class Act(models.Model):
    """What an operator did, and what came of it. Append-only: the database refuses UPDATE and DELETE.

    Written in the transaction of its effect. One that needed several transactions has a row for each. What
    no transaction holds, sending to Kafka, is written down before as `pending`: the one row that the
    database lets be completed, once, with what came of it. A process that died in between leaves it so.

    act         replay, discard, release, resend (once more from the outbox, or what Kafka has refused); of a
                consumer as a whole: pause, resume, seek, rebuild, abandon; of an alarm: silence; and the
                project's own commands, by the names that it gives them
    consumer    empty when it is about what the relay sends, about several, or a command
    topic       empty when it is about a consumer as a whole, a job on dead letters, or no event
    detail      all of it, in a sentence
    error       why it died again, or what stopped the events behind it
    correction  the data that was tried in the place of the event's own
    job_id      the job on dead letters that it was part of, or that began or stopped by it
    ran         how many events that waited behind it ran in this transaction
    waiting     how many still waited afterwards, counted up to MOST_WAITING
    """

    id = models.UUIDField(primary_key=True, default=fresh_id)
    at = models.DateTimeField(db_default=Now())
    who = models.TextField()
    via = models.TextField()
    act = models.TextField()
    why = models.TextField()
    consumer = models.TextField()
    generation = models.SmallIntegerField(null=True)
    letter_id = models.UUIDField(null=True)
    event_id = models.UUIDField(null=True)
    topic = models.TextField()
    key = models.TextField(null=True)  # noqa: DJ001
    result = models.TextField()
    error = models.TextField()
    detail = models.TextField(default="", db_default="")
    correction = models.BinaryField(null=True)
    job_id = models.UUIDField(null=True)
    ran = models.IntegerField()
    waiting = models.IntegerField()

    class Meta:
        db_table = "outbox_act"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.act} by {self.who}: {self.result}"


def write_down(operator: Operator, act: str, report: Report, *, using: str, **about: Any) -> None:
    """Keep it, in the transaction under way. `about` are columns of Act."""
    _keep(
        operator,
        act,
        report.result,
        report.detail,
        using=using,
        error=report.error,
        ran=report.ran,
        waiting=report.waiting,
        **about,
    )


def write_down_steering(
    operator: Operator,
    act: str,
    result: Steered,
    detail: str,
    *,
    consumer: str,
    using: str,
    generation: int | None = None,
) -> None:
    """Keep what was done to a consumer as a whole, in the transaction under way."""
    _keep(
        operator,
        act,
        result,
        detail,
        using=using,
        error="",
        ran=0,
        waiting=0,
        consumer=consumer,
        generation=generation,
        topic="",
    )


def write_down_command(
    operator: Operator,
    act: str,
    *,
    event_id: UUID | None = None,
    detail: str = "",
    result: Steered | Result = Steered.DONE,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Keep that a command of the project's own was carried out, in the transaction under way.

    event_id  what tells of it in the outbox, if anything does
    result    PENDING where nobody knows what came of it
    """
    told = (
        OutboxEvent.objects.using(using).only("topic", "key", "type").get(id=event_id) if event_id else None
    )
    _keep(
        operator,
        act,
        result,
        detail or (f"{told.type} tells of it." if told else ""),
        using=using,
        error="",
        ran=0,
        waiting=0,
        consumer="",
        event_id=event_id,
        topic=told.topic if told else "",
        key=told.key if told else None,
    )


def _keep(
    operator: Operator, act: str, result: Result | Steered, detail: str, *, using: str, **columns: Any
) -> None:
    Act.objects.using(using).create(
        id=new_id(clock.now(using=using)),
        who=operator.name,
        via=operator.via,
        why=operator.reason,
        job_id=operator.job,
        act=act,
        result=result,
        detail=storable(detail),
        **columns,
    )


def acts_of(consumer: str, *, using: str) -> QuerySet[Act]:
    """What was done to a consumer as a whole, from the first on."""
    return Act.objects.using(using).filter(consumer=consumer, topic="").order_by("id")


def acts_on(letter: DeadLetter, *, using: str) -> QuerySet[Act]:
    """What was done about a dead letter, from the first on."""
    return Act.objects.using(using).filter(letter_id=letter.id).order_by("id")


def died_in(job_id: UUID, *, using: str) -> QuerySet[Act]:
    """The acts of a job after which a letter was as dead as before, from the first on."""
    return Act.objects.using(using).filter(job_id=job_id, result=Result.DIED).order_by("id")
