"""One clock for all processes: the database's, carried forward by the local monotonic clock.

Ids decide the partition of a row and times decide the sync delay, so neither may follow a machine whose
wall clock is wrong. Asking costs one round trip per RESYNC and process.
"""

import time
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connections

RESYNC = 60.0

_readings: dict[str, tuple[datetime, float]] = {}


def now(*, using: str = DEFAULT_DB_ALIAS) -> datetime:
    """The database's time, aware, within a round trip of the truth."""
    reading = _readings.get(using)
    if reading is None or time.monotonic() - reading[1] > RESYNC:
        # Opening a connection takes many times as long as the question, and comes before it.
        connections[using].ensure_connection()
        started = time.monotonic()
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            asked_at: datetime = cursor.fetchone()[0]
        # The answer was made about half way between question and arrival.
        reading = _readings[using] = (asked_at, (started + time.monotonic()) / 2)
    return reading[0] + timedelta(seconds=time.monotonic() - reading[1])


def forget() -> None:
    """Ask the database again at the next call."""
    _readings.clear()


def moment_of(text: str) -> datetime:
    """The time that somebody wrote, with its offset from UTC. Raises ValueError, in words for whoever did."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment
    raise ValueError(
        f"{text!r} is no time with an offset: write 2026-01-02T03:04:05Z, or 2026-01-02T04:04:05+01:00."
    )
