"""Whether periodic tasks run: one of them says so each time, and others see for how long it has not.

Those that have run once are missed when they cease. Those that have never run are missed where the project
says that it schedules them, OUTBOX["PERIODIC_TASKS"]: one may do without. They are waited for from the moment
when the tables were made: it is known whoever looks first and whenever, and also when nobody ever does.
"""

from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS

from outbox import clock
from outbox.alerts.alarms import Watch
from outbox.config import config

# It is sent every ten seconds; a worker may be busy for some of these.
LONGEST_SILENCE = timedelta(seconds=60)
# After the tables are made the processes are yet to be started, one after the other.
FIRST_START = timedelta(minutes=5)


def a_task_runs(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Write down that periodic tasks are sent and carried out."""
    now = clock.now(using=using)
    Watch.objects.using(using).update_or_create(id=1, defaults={"tasks_at": now})


def tasks_ran_at(*, using: str = DEFAULT_DB_ALIAS) -> datetime | None:
    """When a periodic task last ran; None for never."""
    return Watch.objects.using(using).values_list("tasks_at", flat=True).first()


def away_since(*, at: datetime, using: str = DEFAULT_DB_ALIAS) -> datetime | None:
    """When tasks last ran that run no more, or should have begun to; None while nothing is to be missed."""
    row = Watch.objects.using(using).filter(id=1).first()
    if row is None:
        return None
    if row.tasks_at is not None:
        return row.tasks_at if at - row.tasks_at > LONGEST_SILENCE else None
    never = config().periodic_tasks and at - row.begun_at > FIRST_START
    return row.begun_at if never else None
