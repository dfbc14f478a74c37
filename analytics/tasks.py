"""Periodic work of analytics."""

import logging

from celery import shared_task

from analytics import services
from outbox import clock

BATCH = 200
# What one run does at most: after a rebuild, say, when every slot is looked at again. The next run goes on.
MOST_BATCHES = 50

logger = logging.getLogger(__name__)


@shared_task(name="analytics.close_slots", ignore_result=True, acks_late=True)
def close_slots() -> None:
    """Publish the totals of slots that have ended or changed. May run at any time, twice, and beside itself.

    Each batch is a transaction of its own. A run that fails is not repeated: the next is seconds away.
    """
    closed = 0
    for _ in range(MOST_BATCHES):
        batch = services.close_slots(at=clock.now(), limit=BATCH)
        closed += batch
        if batch < BATCH:
            break
    if closed:
        logger.info("looked at %d slots that have ended or changed", closed)
