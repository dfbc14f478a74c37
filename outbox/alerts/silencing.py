"""An operator knows of an alarm: nobody is told of it for some hours. Written down as an act."""

from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, transaction

from outbox import clock
from outbox.alerts.alarms import Alarm
from outbox.errors import NoSuchAlarm, RepairRefused
from outbox.registry import all_consumers
from outbox.repair.acts import Operator, Steered, write_down_steering

LONGEST = timedelta(days=7)


def silence(
    *, alarm_id: int, duration: timedelta, operator: Operator, using: str = DEFAULT_DB_ALIAS
) -> Alarm:
    """Have nobody told of this alarm from now on for so long; nothing at all ends a silence early.

    It is for this alarm alone: when it is over and comes again, people are told. That it is over they are
    told if they knew of it. Raises NothingSaid without a reason, NoSuchAlarm, and RepairRefused for longer
    than LONGEST.
    """
    operator.must_say_why()
    if not timedelta(0) <= duration <= LONGEST:
        raise RepairRefused(f"An alarm is silenced for {LONGEST.days} days at most.")
    with transaction.atomic(using=using):
        alarm = Alarm.objects.using(using).present().select_for_update().filter(id=alarm_id).first()
        if alarm is None:
            raise NoSuchAlarm
        until = clock.now(using=using) + duration if duration else None
        alarm.silenced_until, alarm.silenced_by, alarm.silenced_why = until, "", ""
        if until is not None:
            alarm.silenced_by, alarm.silenced_why = operator.name, operator.reason
        alarm.save(using=using, update_fields=["silenced_until", "silenced_by", "silenced_why"])
        result = Steered.UNSILENCED if until is None else Steered.SILENCED
        told = (
            "People are told of it."
            if until is None
            else f"Nobody is told of it until {until:%Y-%m-%d %H:%M} UTC."
        )
        about = alarm.subject if alarm.subject in {one.name for one in all_consumers()} else ""
        write_down_steering(operator, "silence", result, f"{alarm}. {told}", consumer=about, using=using)
    return alarm
