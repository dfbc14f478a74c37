"""The Celery app: `celery -A eventsite worker`, `celery -A eventsite beat`."""

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")

app = Celery("eventsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def leave_logging_to_django(**_: Any) -> None:
    """With a receiver here Celery does not set logging up: Django's settings already did."""


@beat_init.connect
def run_schedule_at_start(**_: Any) -> None:
    """Send every scheduled task once when beat starts: one of hours may never come due between restarts."""
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"])
