"""A consumer's lag, rates and sync delay over a window, in as many slots as a chart can show."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.db import connections

from outbox.lag import SLOT
from outbox.registry import Consumer, get_consumer


@dataclass(frozen=True, slots=True)
class Window:
    """How far back, and how long a slot is; by its name in the address."""

    name: str
    words: str
    length: timedelta
    slot: timedelta


WINDOWS = {
    window.name: window
    for window in (
        Window("15m", "15 min", timedelta(minutes=15), timedelta(seconds=10)),
        Window("1h", "1 h", timedelta(hours=1), timedelta(seconds=30)),
        Window("24h", "24 h", timedelta(hours=24), timedelta(minutes=5)),
    )
}
DEFAULT = WINDOWS["15m"]
# Samples come every ten seconds: so often it is worth looking for a new one.
_LOOK = SLOT / 2

# Of a slot the worst is shown. Offsets that were set back are no rate, nor are ends that were not known.
_SLOTS = """
WITH samples AS (
    SELECT at, events, seconds, delay,
        greatest(produced - lag(produced) OVER earlier, 0) AS came,
        greatest(processed - lag(processed) OVER earlier, 0) AS went,
        CASE WHEN events IS NOT NULL AND lag(events) OVER earlier IS NOT NULL
            THEN extract(epoch FROM at - lag(at) OVER earlier) END AS span
    FROM outbox_lag_sample WHERE consumer = %(consumer)s AND at >= %(since)s
    WINDOW earlier AS (ORDER BY at)
)
SELECT floor(extract(epoch FROM at) / %(slot)s)::bigint AS number, max(events), max(seconds), max(delay),
    (sum(came) FILTER (WHERE span IS NOT NULL) / sum(span))::double precision,
    (sum(went) FILTER (WHERE span IS NOT NULL) / sum(span))::double precision
FROM samples GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class History:
    """Values by slot, the oldest first; None where there is no sample, or it was not known.

    slots    when each begins, in seconds since 1970
    seconds  how long the oldest event had waited, at most
    delay    from an event to its effect, at most
    """

    slots: list[int]
    events: list[int | None]
    seconds: list[float | None]
    delay: list[float | None]
    into: list[float | None]
    out: list[float | None]

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for value in self.events)

    @property
    def as_json(self) -> str:
        """For the page's script."""
        columns = ("slots", "events", "seconds", "delay", "into", "out")
        return json.dumps({name: getattr(self, name) for name in columns}, separators=(",", ":"))


def history_of(consumer: Consumer, window: Window, *, now: datetime) -> History:
    """The window that ends now. Read anew twice as often as there are samples, however many ask."""
    return _history(consumer.name, window, int(now.timestamp() / _LOOK.total_seconds()))


@lru_cache(maxsize=64)
def _history(name: str, window: Window, tick: int) -> History:
    consumer = get_consumer(name)
    slot, end = window.slot.total_seconds(), tick * _LOOK.total_seconds()
    last = int(end // slot)
    first = last - int(window.length / window.slot) + 1
    since = datetime.fromtimestamp(first * slot, UTC)
    with connections[consumer.using].cursor() as sql:
        sql.execute(_SLOTS, {"consumer": name, "since": since, "slot": slot})
        rows = {row[0]: row[1:] for row in sql.fetchall()}
    numbers = range(first, last + 1)
    columns = [
        [_rounded(rows[number][column]) if number in rows else None for number in numbers]
        for column in range(5)
    ]
    return History([int(number * slot) for number in numbers], *columns)  # type: ignore[arg-type]


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 4)
