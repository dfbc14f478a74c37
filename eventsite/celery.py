"""The Celery app: `celery -A eventsite worker`, `celery -A eventsite beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init

from eventsite.tasking import ObservedTask

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")

app = Celery("eventsite", task_cls=ObservedTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_to_django(**_: Any) -> None:
    """With a receiver here Celery does not set logging up: Django's settings already did."""


@worker_init.connect
@beat_init.connect
def tell_metrics(**_: Any) -> None:
    """Serve them, where settings say so. Celery would go on after an exception, but not after this one."""
    from outbox import metrics
    from outbox.errors import MetricsAddressInUse

    try:
        metrics.serve()
    except MetricsAddressInUse as error:
        raise SystemExit(str(error)) from error


@beat_init.connect
def run_schedule_at_start(**_: Any) -> None:
    """Send every scheduled task once when beat starts: one of hours may never come due between restarts."""
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"])
