"""Whether periodic tasks run: one of them says so each time, and others see for how long it has not."""

from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS

from outbox import clock
from outbox.alerts.alarms import Watch

# It is sent every ten seconds; a worker may be busy for some of these.
LONGEST_SILENCE = timedelta(seconds=60)


def a_task_runs(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Write down that periodic tasks are sent and carried out."""
    now = clock.now(using=using)
    Watch.objects.using(using).update_or_create(id=1, defaults={"tasks_at": now})


def tasks_ran_at(*, using: str = DEFAULT_DB_ALIAS) -> datetime | None:
    """When a periodic task last ran; None for never."""
    return Watch.objects.using(using).values_list("tasks_at", flat=True).first()


def are_away(ran_at: datetime | None, *, at: datetime) -> bool:
    """Whether tasks that last ran then do so no more. Those that have never run are not missed."""
    return ran_at is not None and at - ran_at > LONGEST_SILENCE
