"""Which errors pass by themselves, and what is done about each. One place decides it for relay and consumer.

SQLSTATE classes are PostgreSQL's: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import random
from collections.abc import Iterator
from enum import Enum

from django.db import Error as DjangoDatabaseError
from django.db import InterfaceError, OperationalError

from outbox.errors import (
    GenerationEnded,
    NonRecoverable,
    NoPartition,
    OverlappingConsumer,
    PublishWhileBuilding,
    Recoverable,
    UnknownTopic,
)
from outbox.kafka import BrokerError
from outbox.policies import Park, Policies, Policy, Retry, Wait, declared_for

CONTENTION_RETRIES = 10

# 08 connection, 53 resources (disk full, too many connections), 57P the server is going down or starting,
# 58 its disk or files fail, 25006 it has become a standby, 25P03 it ended an idle transaction.
_RECOVERABLE = ("08", "53", "57P", "58", "25006", "25P03")
# Serialization failure, deadlock, lock timeout, statement timeout.
_CONTENTION = {"40001", "40P01", "55P03", "57014"}


class Family(Enum):
    """What to do about an error."""

    RECOVERABLE = "recoverable"
    CONTENTION = "contention"
    NON_RECOVERABLE = "non-recoverable"
    UNKNOWN = "unknown"
    # Of the worker, not of any event: it cannot go on.
    FATAL = "fatal"


def family_of(error: BaseException) -> Family:
    """The family of an error, by its type and, for the database's errors, its SQLSTATE."""
    if isinstance(error, GenerationEnded | PublishWhileBuilding):
        return Family.FATAL
    if isinstance(error, NonRecoverable):
        return Family.NON_RECOVERABLE
    if isinstance(error, OverlappingConsumer):
        return Family.CONTENTION
    if isinstance(error, BrokerError | NoPartition | Recoverable | UnknownTopic):
        # Of a missing partition or topic an operator is told; the event is not at fault.
        return Family.RECOVERABLE
    if isinstance(error, DjangoDatabaseError):
        return _family_of_database_error(error)
    return Family.UNKNOWN


def policy_for(error: BaseException, declared: Policies, *, unknown_retries: int) -> Policy:
    """What to do about an event at which this error was met.

    What is away is waited for, whatever is declared. Then its declarations decide, then the family.
    """
    family = family_of(error)
    if family is Family.RECOVERABLE:
        return Wait()
    if (own := declared_for(error, declared)) is not None:
        return own
    if family is Family.NON_RECOVERABLE:
        return Park()
    return Retry(times=CONTENTION_RETRIES if family is Family.CONTENTION else unknown_retries)


def _family_of_database_error(error: DjangoDatabaseError) -> Family:
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    if state is None:
        # No answer from the server at all: the connection broke, or was never made.
        away = isinstance(error, OperationalError | InterfaceError)
        return Family.RECOVERABLE if away else Family.UNKNOWN
    if state in _CONTENTION:
        return Family.CONTENTION
    return Family.RECOVERABLE if state.startswith(_RECOVERABLE) else Family.UNKNOWN


def backoff(*, first: float = 0.05, most: float = 5.0) -> Iterator[float]:
    """Seconds to wait before each next try: doubling up to `most`, jittered so that many do not coincide."""
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  (not a secret)
        delay = min(delay * 2, most)
