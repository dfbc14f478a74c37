"""What one transaction of a consumer came to, event by event; counted once it has been committed."""

import time
from datetime import datetime

from outbox import clock, metrics
from outbox.models import Outcome
from outbox.registry import Consumer


class Outcomes:
    """Filled while the transaction runs. Costs an entry in a list for each event."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._began = time.monotonic()
        self._found: list[tuple[str, str]] = []
        self._occurred: list[datetime] = []

    def add(self, event_type: str, outcome: Outcome, occurred_at: datetime | None) -> None:
        """An event was moved past, or put to wait."""
        self._found.append((event_type, outcome.value))
        if outcome is Outcome.PROCESSED and occurred_at is not None:
            self._occurred.append(occurred_at)

    def repeat(self, event_type: str) -> None:
        """An event was known, and dropped."""
        self._found.append((event_type, metrics.REPEATED))

    def count(self) -> None:
        """The transaction has been committed."""
        if not self._found:
            return
        now = clock.now(using=self._consumer.using)
        metrics.processed(self._consumer.name, self._found, occurred=self._occurred, now=now)
        metrics.ran(self._consumer.name, events=len(self._found), seconds=time.monotonic() - self._began)
