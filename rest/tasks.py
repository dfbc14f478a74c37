"""Periodic work of the REST layer."""

import logging

from celery import shared_task
from django.db import OperationalError

from rest import idempotency, throttling

BATCH = 5_000
logger = logging.getLogger(__name__)


@shared_task(
    name="rest.prune_kept_answers",
    ignore_result=True,
    acks_late=True,
    autoretry_for=(OperationalError,),
    max_retries=None,
    retry_backoff=True,
    retry_backoff_max=60,
)
def prune_kept_answers() -> None:
    """Forget the answers that no client asks for again. May run at any time, twice, and beside itself."""
    pruned = 0
    while True:
        batch = idempotency.prune(limit=BATCH)
        pruned += batch
        if batch < BATCH:
            break
    if pruned:
        logger.info("forgot %d answers", pruned)


@shared_task(
    name="rest.prune_budgets",
    ignore_result=True,
    acks_late=True,
    autoretry_for=(OperationalError,),
    max_retries=None,
    retry_backoff=True,
    retry_backoff_max=60,
)
def prune_budgets() -> None:
    """Forget the budgets of callers that are gone. May run at any time, twice, and beside itself."""
    throttling.prune()
