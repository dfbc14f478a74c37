"""Periodic work of the payment service."""

import logging

from celery import shared_task

from outbox import clock
from payments import services

BATCH = 200
# What one run does at most: with a backlog of millions the next run goes on, in this worker or another.
MOST_BATCHES = 50

logger = logging.getLogger(__name__)


@shared_task(name="payments.expire_due", ignore_result=True, acks_late=True)
def expire_due() -> None:
    """Reject the payments that nobody validated in time. May run at any time, twice, and beside itself.

    Each batch is a transaction of its own. A run that fails is not repeated: the next is seconds away.
    """
    expired = 0
    for _ in range(MOST_BATCHES):
        batch = services.expire_due_payments(at=clock.now(), limit=BATCH)
        expired += batch
        if batch < BATCH:
            break
    if expired:
        logger.info("%d payments expired", expired)
