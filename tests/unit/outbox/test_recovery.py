"""Every error belongs to a family, and the family decides."""

from itertools import islice

import psycopg
import pytest
from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError

from outbox.errors import ContractViolation, NoPartition, OverlappingConsumer, UnknownTopic
from outbox.kafka import BrokerError
from outbox.recovery import Family, backoff, family_of


def database_error(state: str | None, kind: type[Exception] = OperationalError) -> Exception:
    """Django's error, with psycopg's as its cause."""
    cause = psycopg.errors.lookup(state)("") if state else psycopg.OperationalError("")
    error = kind("")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "family"),
    [
        (database_error(None), Family.RECOVERABLE),
        (InterfaceError("connection already closed"), Family.RECOVERABLE),
        (database_error("08006"), Family.RECOVERABLE),
        (database_error("53100"), Family.RECOVERABLE),
        (database_error("53300"), Family.RECOVERABLE),
        (database_error("57P01"), Family.RECOVERABLE),
        (database_error("57P03"), Family.RECOVERABLE),
        (database_error("25006", InternalError), Family.RECOVERABLE),
        (database_error("25P03", InternalError), Family.RECOVERABLE),
        (database_error("58030"), Family.RECOVERABLE),
        (BrokerError(), Family.RECOVERABLE),
        (NoPartition(), Family.RECOVERABLE),
        (UnknownTopic(), Family.RECOVERABLE),
        (database_error("40001"), Family.CONTENTION),
        (database_error("40P01"), Family.CONTENTION),
        (database_error("55P03"), Family.CONTENTION),
        (database_error("57014"), Family.CONTENTION),
        (OverlappingConsumer(), Family.CONTENTION),
        (ContractViolation(), Family.NON_RECOVERABLE),
        (database_error("42703", ProgrammingError), Family.UNKNOWN),
        (ProgrammingError("the last operation failed"), Family.UNKNOWN),
        (ValueError(), Family.UNKNOWN),
    ],
)
def test_families(error: Exception, family: Family) -> None:
    assert family_of(error) is family


def test_backoff_grows_to_its_limit_with_jitter() -> None:
    delays = list(islice(backoff(first=0.1, most=2.0), 20))
    assert all(0 < delay <= 2.0 for delay in delays)
    assert delays[0] <= 0.1 < delays[-1]
    assert len(set(delays)) == 20
