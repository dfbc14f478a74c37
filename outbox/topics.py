"""What a team declares about a Kafka topic, in code and without Django."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from outbox.errors import InvalidTopic

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic as the code wants it; `manage.py topics apply` makes it so, `topics diff` reports drift.

    name         1 to 249 of letters, digits, '.', '_' and '-'
    partitions   how many to create; the number in use is the one recorded in the database
    replication  copies of each record; None takes the cluster's default.replication.factor
    retention    how long Kafka keeps a record; None keeps it for ever
    cleanup      'delete' drops records older than the retention, 'compact' keeps the last of each key
    """

    name: str
    partitions: int
    retention: timedelta | None
    replication: int | None = None
    cleanup: Literal["delete", "compact"] = "delete"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in {".", ".."}:
            raise InvalidTopic(
                f"{self.name!r} is not a topic name Kafka accepts (letters, digits, '.', '_', '-')."
            )
        if self.partitions < 1:
            raise InvalidTopic(f"Topic {self.name}: partitions must be at least 1, not {self.partitions}.")
        if self.retention is not None and self.retention <= timedelta(0):
            raise InvalidTopic(f"Topic {self.name}: retention must be positive; None keeps records for ever.")

    def config(self) -> dict[str, str]:
        """The topic's own Kafka settings, as `topics apply` sets them."""
        milliseconds = -1 if self.retention is None else self.retention // timedelta(milliseconds=1)
        return {"cleanup.policy": self.cleanup, "retention.ms": str(milliseconds)}
