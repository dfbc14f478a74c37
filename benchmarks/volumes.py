"""How fast a year of payments answers: `.venv/bin/python -m benchmarks.volumes`, on a database of its own.

Fills the table of slots as a year of payments in every minute would, in several currencies and statuses, and
puts the widest questions that are permitted. Prints milliseconds: of the database alone, of the selector, and
of a whole answer of the API, each the best of several runs: others on the machine only add to it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from benchmarks.bench import running

YEAR = datetime(2025, 1, 1, tzinfo=UTC)
CURRENCIES = ("EUR", "JPY", "USD")
STATUSES = ("pending", "refunded", "rejected", "validated")
RUNS = 7

# A year by day in every kind of zone, and by hours and minutes as far as an answer goes: 50,000 rows.
QUESTIONS: dict[str, dict[str, str]] = {
    "a year by day, UTC": {"slot": "1d", "from": "2025-01-01", "to": "2026-01-01"},
    "a year by day, Berlin": {"slot": "1d", "from": "2025-01-01", "to": "2026-01-01", "tz": "Europe/Berlin"},
    "a year by day, Kathmandu": {
        "slot": "1d",
        "from": "2025-01-01",
        "to": "2026-01-01",
        "tz": "Asia/Kathmandu",
    },
    "a year by hour, one status": {
        "slot": "1h",
        "from": "2025-01-01",
        "to": "2026-01-01",
        "currency": "EUR",
        "status": "validated",
    },
    "a year by hour, one currency": {
        "slot": "1h",
        "from": "2025-01-01",
        "to": "2026-01-01",
        "currency": "EUR",
    },
    "100 days by hour, Kathmandu": {
        "slot": "1h",
        "from": "2025-03-01",
        "to": "2025-06-09",
        "tz": "Asia/Kathmandu",
    },
    "two weeks by 5 minutes": {"slot": "5m", "from": "2025-03-01", "to": "2025-03-15"},
    "68 hours by minute": {"slot": "1m", "from": "2025-03-01", "to": "2025-03-03T20:00"},
    "an hour by minute": {"slot": "1m", "from": "2025-03-01T12:00", "to": "2025-03-01T13:00"},
}

_FILL = """
INSERT INTO analytics_slot
    (generation, width, merchant_id, slot_start, currency, status, count, amount_minor, dirty)
SELECT 1, width.name, %s, slot_start, currency, status, width.minutes, width.minutes * 1250, false
FROM unnest(%s::text[], %s::integer[]) AS width (name, minutes),
    generate_series(%s::timestamptz, %s::timestamptz - interval '1 minute',
        make_interval(mins => width.minutes)) AS slot_start,
    unnest(%s::text[]) AS currency, unnest(%s::text[]) AS status
ORDER BY width.name, slot_start, currency, status
"""


def fill(*, start: datetime = YEAR, end: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> int:
    """A payment of every status and currency in every minute, as everyone's rows; returns how many rows."""
    from django.db import connection

    from analytics.models import EVERYONE
    from analytics.slots import MINUTE, WIDTHS

    minutes = [width // MINUTE for width in WIDTHS.values()]
    with connection.cursor() as cursor:
        cursor.execute(_FILL, [EVERYONE, [*WIDTHS], minutes, start, end, [*CURRENCIES], [*STATUSES]])
        filled = int(cursor.rowcount)
        cursor.execute("VACUUM ANALYZE analytics_slot")
    return filled


def milliseconds(work: Callable[[], Any]) -> float:
    """The best of RUNS runs."""
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1_000)
    return min(taken)


def measure() -> None:
    """Print a table of the questions."""
    from django.db import connection
    from rest_framework.test import APIClient

    from accounts.services import ensure_token, ensure_user
    from analytics.selectors import volumes
    from analytics.slots import span_of, zone_named
    from outbox import clock

    began = time.perf_counter()
    print(f"{fill():,} rows in {time.perf_counter() - began:.0f} s\n")  # noqa: T201
    user = ensure_user(username="bench", password=None, is_staff=True)
    client = APIClient()
    client.defaults["SERVER_NAME"] = "localhost"
    client.credentials(HTTP_AUTHORIZATION=f"Token {ensure_token(user=user)}")
    print(f"{'':28}{'rows':>9}{'database':>10}{'selector':>10}{'answer':>10}  milliseconds")  # noqa: T201
    for name, asked in QUESTIONS.items():
        span = span_of(
            slot=asked["slot"],
            start=asked["from"],
            end=asked["to"],
            zone=zone_named(asked.get("tz", "UTC")),
            now=clock.now(),
        )
        given: dict[str, Any] = {
            "span": span,
            "merchant_id": None,
            "currency": asked.get("currency"),
            "status": asked.get("status"),
        }
        with statements(connection) as executed:
            rows = len(volumes(**given))
        query, parameters = executed[-1]
        address = f"/api/analytics/payment-volumes/?{urlencode(asked)}"
        database = min(_executing(query, parameters) for _ in range(RUNS))
        selected = milliseconds(partial(volumes, **given))
        answered = milliseconds(partial(client.get, address))
        print(f"{name:28}{rows:9,}{database:10.1f}{selected:10.1f}{answered:10.1f}")  # noqa: T201


def _executing(query: str, parameters: Any) -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", parameters)
        [(plans,)] = cursor.fetchall()
    return float(plans[0]["Execution Time"] + plans[0]["Planning Time"])


class statements:  # noqa: N801  (a context manager)
    """Collects what is executed inside: (statement, parameters)."""

    def __init__(self, connection: Any) -> None:
        self._found: list[tuple[str, Any]] = []
        self._wrapped = connection.execute_wrapper(self._note)

    def __enter__(self) -> list[tuple[str, Any]]:
        self._wrapped.__enter__()
        return self._found

    def __exit__(self, *error: Any) -> None:
        self._wrapped.__exit__(*error)

    def _note(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self._found.append((sql, parameters))
        return execute(sql, parameters, many, context)


def main() -> None:
    with running():
        measure()


if __name__ == "__main__":
    main()
