"""What cannot be built again is taken over from the old generation: nearly all of it ahead of the swap."""

from datetime import datetime, timedelta

from django.db import transaction

from outbox import clock, history, succession
from outbox.registry import Consumer

# No batch takes so long between the claim of its events and its commit.
COMMIT = timedelta(minutes=5)
DAY = timedelta(days=1)


class TakeOver:
    """Gives the generation `new` the old one's effects from before the horizon, in the place of its own.

    `ahead()` may take long, and keeps nobody waiting. `rest()` belongs into the transaction of the swap: both
    generations stand still then, and only the days that one of them has come to since are looked at again.
    """

    def __init__(self, consumer: Consumer, *, new: int) -> None:
        self._projection = succession.projection_of(consumer)
        self._consumer = consumer
        self._new = new
        self._done: tuple[int, datetime] | None = None
        self._since: datetime | None = None

    def ahead(self, *, old: int, before: datetime | None) -> None:
        """Take over all of it as it is now, unless that has been done."""
        if before is None or self._done == (old, before):
            return
        since = clock.now(using=self._consumer.using) - COMMIT
        with transaction.atomic(using=self._consumer.using):
            self._projection.take_over(old=old, new=self._new, start=None, end=before)
        self._done, self._since = (old, before), since

    def rest(self, *, old: int, before: datetime | None) -> None:
        """Take over what has changed since, in the transaction under way."""
        if before is None or self._since is None:
            return
        both = (old, self._new)
        for day in history.days_before(self._consumer, both, before=before, since=self._since):
            self._projection.take_over(old=old, new=self._new, start=day, end=day + DAY)
