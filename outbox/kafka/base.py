"""Records, errors and what all clients have in common."""

import logging
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outbox.errors import OutboxError

SELDOM = 60.0


class _Seldom(logging.Filter):
    """Lets through once a minute what librdkafka says at each try of a broker that is away."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this has not been said for a while, whatever its numbers."""
        text, now = re.sub(r"[0-9]+", "", record.getMessage()), time.monotonic()
        seldom = record.levelno >= logging.CRITICAL or now - self._said.get(text, -SELDOM) >= SELDOM
        if seldom:
            self._said[text] = now
            if len(self._said) > 1_000:
                self._said.clear()
        return seldom


_logger = logging.getLogger("outbox.librdkafka")
_logger.addFilter(_Seldom())
# Said at every start about a setting that is chosen on purpose.
_logger.addFilter(lambda entry: "enable.gapless.guarantee is experimental" not in entry.getMessage())

Header = tuple[str, bytes | None]
Placement = tuple[str, int]  # topic, partition


class BrokerError(OutboxError):
    """Kafka is away or not ready; the same call may succeed later."""


class RecordRefused(OutboxError):
    """Kafka will never accept this record."""


# Frozen, it would take five times as long to make, and every record passes here.
@dataclass(slots=True)
class Record:
    """One Kafka record as it was read; `timestamp` is None when the broker gave none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of a partition, by their first and last offset."""

    topic: str
    partition: int
    first: int
    last: int


def client_options(kafka: dict[str, str], **options: Any) -> dict[str, Any]:
    """librdkafka's options: the project's connection, ours on top, its messages to Python's logging."""
    return {
        **kafka,
        "reconnect.backoff.max.ms": 1_000,
        "logger": _logger,
        **options,
    }


def known(value: int | None) -> int:
    """librdkafka's number, or -1 where it has none."""
    return -1 if value is None else value
