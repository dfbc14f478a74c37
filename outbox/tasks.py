"""Periodic work, for projects that have Celery. Nothing in the engine imports this module."""

import logging

from celery import shared_task
from django.db import OperationalError

from outbox.alerts.heartbeat import a_task_runs
from outbox.alerts.sending import send_notices
from outbox.partitions import make_partitions
from outbox.rebuild_requests import go_on_with_rebuilds
from outbox.registry import databases
from outbox.repair import working
from outbox.repair.releasing import go_on_with_all
from outbox.sampling import sample_when_due

logger = logging.getLogger(__name__)


@shared_task(
    name="outbox.make_partitions",
    ignore_result=True,
    acks_late=True,
    autoretry_for=(OperationalError,),
    max_retries=None,
    retry_backoff=True,
    retry_backoff_max=60,
)
def make_partitions_ahead() -> None:
    """Make the partitions of the coming weeks. May run at any time, twice, and beside itself.

    Schedule it hourly: there are days between its first failure and the day that has no partition.
    """
    for name in make_partitions():
        logger.info("made partition %s", name)


@shared_task(
    name="outbox.go_on_with_released_keys",
    ignore_result=True,
    acks_late=True,
    autoretry_for=(OperationalError,),
    max_retries=None,
    retry_backoff=True,
    retry_backoff_max=60,
)
def go_on_with_released_keys() -> None:
    """Run what waits behind keys whose release was cut short. May run at any time, twice, and beside itself.

    Schedule it every few seconds: it asks for an index entry where there is none.
    """
    if ran := go_on_with_all():
        logger.info("%s events of released keys ran", ran)


@shared_task(name="outbox.work_on_repair_jobs", ignore_result=True)
def work_on_repair_jobs() -> None:
    """Act on dead letters of jobs that operators began, for two seconds. May run twice, and beside itself.

    Schedule it every two seconds: it asks for an index entry where there is none. What a killed worker had
    in hand was not done, and is done by the next.
    """
    if acted := working.work():
        logger.info("%s dead letters of jobs were acted on", acted)


@shared_task(name="outbox.sample_lag", ignore_result=True)
def sample_lag() -> None:
    """Keep a sample of every consumer's lag, unless an instance of one has just done it; say that tasks run.

    Schedule it every ten seconds: it is what goes on, and raises alarms, when no instance runs.
    """
    for using in databases():
        a_task_runs(using=using)
        sample_when_due(using=using)


@shared_task(name="outbox.go_on_with_rebuilds", ignore_result=True)
def go_on_with_requested_rebuilds() -> None:
    """Carry out the rebuilds that were asked for, for a slice of time. May run twice, and beside itself.

    Schedule it every few seconds: it is what begins them, and goes on after a worker was killed.
    """
    if ended := go_on_with_rebuilds():
        logger.info("%s rebuilds are over", ended)


@shared_task(name="outbox.send_alerts", ignore_result=True)
def send_alerts() -> None:
    """Tell people of alarms that have begun, last, or are over (OUTBOX["ALERTS"]).

    Schedule it every ten seconds. May run at any time, twice, and beside itself.
    """
    for using in databases():
        send_notices(using=using)
