"""Keeps an alarm for all that is wrong, and writes down what people are to be told, in one transaction.

An alarm is told when it has held for a while by itself (Alerts.hold): as long as it follows from another
one, or from a pause, that one is enough. It is told again when it lasts (remind) or has grown tenfold, and
when it has been over for a while. What is wrong again before that is the same alarm: flapping is told once.
"""

import logging
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import F, Q

from outbox import clock
from outbox.alerts.alarms import Alarm, Channel, Notice, NoticeKind, Watch
from outbox.alerts.causes import Cause
from outbox.alerts.checks import MANY, Found, look
from outbox.alerts.options import Alerts, alert_options
from outbox.ids import new_id
from outbox.lag import Lag

# Who holds it looks, and numbers notices, alone.
WATCH_LOCK = 3
# Alarms that are over, and their notices, are kept for so long.
KEEP = timedelta(days=30)
LONGEST = 500
# One dead letter is another matter than ten, and ten than a hundred: more is told at each of these steps.
GROWN = 10

# A look is due every ten seconds (outbox/sampling.py).
LOOKS_LATE = timedelta(seconds=25)
# What rests on who has not reported of late.
_REPORTED = {Cause.NO_RELAY, Cause.NO_INSTANCE}

logger = logging.getLogger(__name__)


def check(
    lags: Collection[Lag], *, found_before: Collection[Found] = (), using: str = DEFAULT_DB_ALIAS
) -> None:
    """Look at everything, with the lags of this database's consumers.

    found_before  what is wrong besides, and could not be looked for in the transaction

    Called in a transaction, by one session at a time (outbox/sampling.py).
    """
    options, at = alert_options(), clock.now(using=using)
    kafka_is_away = any(one.cause == Cause.KAFKA_AWAY for one in found_before)
    seen = look(lags, at=at, options=options, using=using, kafka_is_away=kafka_is_away)
    # There is one Kafka, of which people are told once.
    wrong = [*(found_before if using == DEFAULT_DB_ALIAS else ()), *seen]
    found = {(one.cause.value, one.subject): one for one in wrong}
    rows = Alarm.objects.using(using).filter(
        Q(ended_at=None) | Q(ended_at__gt=at - timedelta(seconds=options.hold))
    )
    # Of one that flapped the last row goes on.
    known = {(row.cause, row.subject): row for row in rows.order_by("id")}
    if _was_long_ago(checked_at(using=using), at):
        found = {name: one for name, one in found.items() if one.cause not in _REPORTED or name in known}
    following = set[int]()
    for name, one in found.items():
        row = _note(known.get(name), one, at, using)
        if one.follows:
            following.add(row.id)
    for name, row in known.items():
        if name not in found and row.ended_at is None:
            row.ended_at, row.unknown_since = at, None
            row.save(using=using, update_fields=["ended_at", "unknown_since"])
            logger.info("alarm over: %s", row)
    _tell(at, options, following, using)
    Alarm.objects.using(using).filter(ended_at__lt=at - KEEP).delete()
    Watch.objects.using(using).update_or_create(id=1, defaults={"checked_at": at})


def _was_long_ago(last: datetime | None, at: datetime) -> bool:
    """Whether nobody could look for a while, as when the database hung: then nobody could report, either. Who
    is there does so within a second, and the next look finds it.
    """
    return last is not None and at - last > LOOKS_LATE


def checked_at(*, using: str = DEFAULT_DB_ALIAS) -> datetime | None:
    """When anybody last looked; None for never."""
    return Watch.objects.using(using).values_list("checked_at", flat=True).first()


def unwatched_for(*, at: datetime, using: str = DEFAULT_DB_ALIAS) -> timedelta | None:
    """For how long nobody has looked, since the tables were made at most; None where that is not known."""
    row = Watch.objects.using(using).filter(id=1).first()
    return None if row is None else at - (row.checked_at or row.begun_at)


def _note(row: Alarm | None, found: Found, at: datetime, using: str) -> Alarm:
    said, severity = found.said[:LONGEST], found.severity
    if row is None:
        since = min(found.since or at, at)
        row = Alarm(cause=found.cause, subject=found.subject, since=since, noticed_at=at)
        logger.warning("alarm: %s", said)
    elif row.ended_at is not None and row.told_at is not None:
        row.noticed_at = at  # others know of it; who does not is told when it has held
    row.said, row.many, row.severity, row.seen_at, row.ended_at = said, found.many, severity, at, None
    row.unknown_since, row.follows = found.unknown_since, found.follows or ""
    if found.follows:
        row.noticed_at = at
    row.save(using=using)
    return row


def _tell(at: datetime, options: Alerts, following: set[int], using: str) -> None:
    """Write a notice for each change that has lasted; of those that follow from others none."""
    lasted = at - timedelta(seconds=options.hold)
    alarms = Alarm.objects.using(using)
    heard = alarms.present().heard(at).exclude(id__in=following)
    for alarm in heard.filter(told_at=None, noticed_at__lte=lasted).order_by("id"):
        _write(alarm, NoticeKind.BEGUN, at, options, using)
    # More than MANY is not counted: then that it is so many is told.
    again = Q(told_many__gt=0, told_many__lt=MANY) & (Q(many__gte=F("told_many") * GROWN) | Q(many__gte=MANY))
    if options.remind:
        again |= Q(told_at__lte=at - timedelta(seconds=options.remind))
    for alarm in heard.filter(again).exclude(told_at=None).order_by("id"):
        _write(alarm, NoticeKind.LASTS, at, options, using)
    # To a channel that has come since the others were told, or while the alarm was silenced or seemed over.
    for channel in Channel.objects.using(using):
        for alarm in heard.filter(noticed_at__lte=lasted).unheard_by(channel).order_by("id"):
            body = body_of(alarm, NoticeKind.BEGUN, at, page=options.page)
            Notice.objects.using(using).create(
                alarm=alarm, kind=NoticeKind.BEGUN, at=at, body=body, channel=channel.name
            )
    over = alarms.filter(ended_at__lte=lasted, end_told_at=None).exclude(told_at=None)
    for alarm in over.order_by("id"):
        _write(alarm, NoticeKind.ENDED, at, options, using)


def _write(alarm: Alarm, kind: NoticeKind, at: datetime, options: Alerts, using: str) -> None:
    body = body_of(alarm, kind, at, page=options.page)
    Notice.objects.using(using).create(alarm=alarm, kind=kind, at=at, body=body)
    if kind == NoticeKind.ENDED:
        alarm.end_told_at = at
    else:
        alarm.told_at, alarm.told_many = at, alarm.many
    alarm.save(using=using, update_fields=["end_told_at", "told_at", "told_many"])


def body_of(alarm: Alarm, kind: NoticeKind, at: datetime, *, page: str) -> dict[str, Any]:
    """What a receiver is sent; documented in docs/operations.md."""
    over = kind == NoticeKind.ENDED
    words = {NoticeKind.BEGUN: "", NoticeKind.LASTS: "Still: ", NoticeKind.ENDED: "Over: "}
    return {
        "id": str(new_id(at)),
        "type": f"alarm.{kind.value}",
        "timestamp": _text(at),
        "text": words[kind] + (str(alarm) if over else alarm.said),
        "data": {
            "alarm": alarm.id,
            "cause": alarm.cause,
            "subject": alarm.subject,
            "severity": alarm.severity,
            "said": alarm.said,
            "advice": "" if over else alarm.advice,
            "since": _text(alarm.since),
            "ended_at": _text(alarm.ended_at) if alarm.ended_at else None,
            "page": page,
        },
    }


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
