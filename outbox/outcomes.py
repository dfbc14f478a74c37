"""What one transaction of a consumer came to, event by event; counted once it has been committed."""

import time
from collections.abc import Iterable
from datetime import datetime

from outbox import clock, metrics
from outbox.inbox import Claim
from outbox.models import Outcome
from outbox.registry import Consumer

_PROCESSED = Outcome.PROCESSED.value


class Outcomes:
    """Told what becomes of events that it claims no inbox rows for; the rows tell of the others."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._began = time.monotonic()
        self._found: list[tuple[str, str]] = []
        self._occurred: list[datetime] = []

    def settle(self, event_type: str, outcome: Outcome, occurred_at: datetime | None) -> None:
        """An event was moved past that the inbox knew: it had waited, or was a dead letter."""
        self._found.append((event_type, outcome.value))
        if outcome is Outcome.PROCESSED and occurred_at is not None:
            self._occurred.append(occurred_at)

    def repeat(self, event_type: str) -> None:
        """An event was known, and dropped."""
        self._found.append((event_type, metrics.REPEATED))

    def occurred(self, claims: Iterable[Claim]) -> list[datetime]:
        """When each event happened that was processed, with these inbox rows."""
        return self._occurred + [claim.occurred_at for claim in claims if claim.outcome == _PROCESSED]

    def count(self, claims: Iterable[Claim]) -> None:
        """The transaction has been committed, with these inbox rows."""
        claims = list(claims)
        found = self._found + [(claim.type, claim.outcome) for claim in claims]
        if not found:
            return
        now = clock.now(using=self._consumer.using)
        metrics.processed(self._consumer.name, found, occurred=self.occurred(claims), now=now)
        metrics.ran(self._consumer.name, events=len(found), seconds=time.monotonic() - self._began)
