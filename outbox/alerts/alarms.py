"""The tables of alarms. Their SQL is in migrations/0015_alerts.py."""

from datetime import datetime

from django.db import models
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Now

from outbox.alerts.causes import Cause, Severity, advice_on, label_of


class AlarmRows(QuerySet["Alarm"]):
    """Questions about alarms."""

    def present(self) -> "AlarmRows":
        """Those of now."""
        return self.filter(ended_at=None)

    def heard(self, at: datetime) -> "AlarmRows":
        """Those that nobody has silenced."""
        return self.filter(Q(silenced_until=None) | Q(silenced_until__lte=at))

    def unheard_by(self, channel: "Channel") -> "AlarmRows":
        """Those that others were told of, and this channel was not."""
        heard = Notice.objects.for_channel(channel).filter(alarm=OuterRef("id"))
        return self.exclude(told_at=None).filter(~Exists(heard))

    def worst_first(self) -> "AlarmRows":
        """Those that follow from others last; of either the critical ones first, and of these the oldest."""
        root = Case(When(follows="", then=Value(0)), default=Value(1))
        rank = Case(When(severity=Severity.CRITICAL, then=Value(0)), default=Value(1))
        return self.order_by(root, rank, "since", "id")


class Alarm(models.Model):
    """Something that is or was wrong. Of one cause and subject there is one at a time.

    subject        the consumer or the topic that it is about; empty where there is only one
    said           what is wrong, in a sentence with figures, as it was seen last
    many           how many it is about, as they were counted last; 0 where there is nothing to count
    told_many      how many there were when the last notice was written
    follows        the cause of what it follows from, another alarm or a pause; empty while that is nothing
    since          since when it has been so, as far as that is known
    unknown_since  since when nobody knows whether it is still so; null while that is known
    noticed_at     when it was first seen; as long as it follows from another one, when it was last seen
    seen_at        when it was last seen
    told_at        when the last notice was written that it is there; null before the first
    end_told_at    when the notice was written that it is over
    """

    id = models.BigAutoField(primary_key=True)
    cause = models.TextField(choices=Cause)
    subject = models.TextField(default="", db_default="")
    severity = models.TextField(choices=Severity, default=Severity.WARNING)
    said = models.TextField(default="")
    many = models.IntegerField(default=0, db_default=0)
    told_many = models.IntegerField(default=0, db_default=0)
    follows = models.TextField(default="", db_default="")
    since = models.DateTimeField(db_default=Now())
    unknown_since = models.DateTimeField(null=True)
    noticed_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    end_told_at = models.DateTimeField(null=True)
    silenced_until = models.DateTimeField(null=True)
    silenced_by = models.TextField(default="", db_default="")
    silenced_why = models.TextField(default="", db_default="")

    objects = AlarmRows.as_manager()

    class Meta:
        db_table = "outbox_alarm"
        permissions = [("silence_alarm", "Can silence alarms")]

    def __str__(self) -> str:
        return f"{self.subject}: {self.label}" if self.subject else self.label

    @property
    def label(self) -> str:
        """The cause, for people."""
        return label_of(self.cause)

    @property
    def advice(self) -> str:
        """What to do about it, or about what it follows from."""
        return advice_on(self.follows or self.cause, self.subject)


class NoticeKind(models.TextChoices):
    """What a notice tells of its alarm."""

    BEGUN = "begun"
    LASTS = "lasts"
    ENDED = "ended"


class NoticeRows(QuerySet["Notice"]):
    """Questions about notices."""

    def for_channel(self, channel: "Channel") -> "NoticeRows":
        """Those since it is there that are not for another one alone."""
        return self.filter(channel__in=("", channel.name), id__gt=channel.begun_after)

    def left_for(self, channel: "Channel") -> "NoticeRows":
        """Those that it has yet to get. Of an alarm that it was never told of it does not hear the end."""
        heard = Notice.objects.for_channel(channel).filter(alarm=OuterRef("alarm"), id__lt=OuterRef("id"))
        left = self.for_channel(channel).filter(id__gt=channel.position)
        return left.filter(~Q(kind=NoticeKind.ENDED) | Exists(heard.exclude(kind=NoticeKind.ENDED)))


class Notice(models.Model):
    """A change that people are told. Ids are in the order of the commits.

    body     what is sent, the same at each attempt
    channel  the only one that it is for; empty for all
    """

    id = models.BigAutoField(primary_key=True)
    alarm = models.ForeignKey(Alarm, on_delete=models.DO_NOTHING)
    kind = models.TextField(choices=NoticeKind)
    at = models.DateTimeField(db_default=Now())
    body = models.JSONField()
    channel = models.TextField(default="", db_default="")

    objects = NoticeRows.as_manager()

    class Meta:
        db_table = "outbox_alarm_notice"

    def __str__(self) -> str:
        return f"{self.kind}: {self.alarm_id}"


class Channel(models.Model):
    """How far a way of telling people has come, and whether it works.

    position       the last notice that it has, or that was given up
    begun_after    the last notice before it was there
    claimed_until  until when a process is at it; nobody else is meanwhile
    attempts       how often the next notice has been tried
    given_up       how many notices it never got, because it was away for too long
    """

    name = models.TextField(primary_key=True)
    position = models.BigIntegerField()
    begun_after = models.BigIntegerField(default=0, db_default=0)
    claimed_until = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    reason = models.TextField(default="", db_default="")
    given_up = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "outbox_alarm_channel"

    def __str__(self) -> str:
        return f"{self.name}: {'fails' if self.failing_since else 'works'}"


class Watch(models.Model):
    """When anybody last looked for alarms, and when a periodic task last ran; one row, null for never.

    begun_at  since when the row is there, which migrate makes: nothing can have been missed before
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    begun_at = models.DateTimeField(db_default=Now())
    checked_at = models.DateTimeField(null=True)
    tasks_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outbox_alarm_watch"

    def __str__(self) -> str:
        return f"looked at {self.checked_at}"
