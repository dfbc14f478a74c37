"""The widest questions read what they need of the table and no more; their sums are those of the minutes."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from analytics.models import CONSUMER, PublishedTotal, Slot
from analytics.selectors import volumes
from analytics.services import close_slots
from analytics.slots import MINUTE, Span, span_of, zone_named
from benchmarks.volumes import CURRENCIES, STATUSES, fill, statements
from outbox.models import Generation

pytestmark = pytest.mark.django_db

START = datetime(2025, 3, 1, tzinfo=UTC)
DAYS = 40
SERIES = len(CURRENCIES) * len(STATUSES)


@pytest.fixture(autouse=True, scope="module")
def _filled(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """700,000 rows, once for all: a VACUUM is part of it, and what a test changes is rolled back."""
    with django_db_blocker.unblock():
        fill(start=START, end=START + timedelta(days=DAYS))
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("TRUNCATE analytics_slot")


def asked(slot: str, zone: str, start: str = "2025-03-01", end: str = "2025-04-10") -> Span:
    return span_of(slot=slot, start=start, end=end, zone=zone_named(zone), now=START)


def rows_read(plan: dict[str, Any]) -> int:
    """The rows that the scans of a plan came across, those that they threw away included."""
    below = sum(rows_read(child) for child in plan.get("Plans", []))
    if "Scan" not in plan["Node Type"] or "Relation Name" not in plan:
        return below
    filtered = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return below + int((plan["Actual Rows"] + filtered) * plan["Actual Loops"])


@pytest.mark.parametrize(
    ("slot", "zone", "most"),
    [
        ("1d", "UTC", DAYS),
        ("1d", "Europe/Berlin", DAYS * 24),
        ("1d", "Asia/Kathmandu", DAYS * (23 + 8)),
        ("1d", "Australia/Lord_Howe", DAYS * (23 + 8)),
        ("1h", "Europe/Berlin", DAYS * 24),
        ("1h", "Asia/Kolkata", DAYS * 24 * 4),
        ("5m", "Asia/Kathmandu", 13 * 24 * 12),
    ],
)
def test_no_more_is_read_than_the_answer_is_made_of(slot: str, zone: str, most: int) -> None:
    end = "2025-03-14" if slot == "5m" else "2025-04-10"
    with statements(connection) as executed:
        assert volumes(span=asked(slot, zone, end=end), merchant_id=None)
    query, parameters = executed[-1]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", parameters)
        [(plans,)] = cursor.fetchall()
    plan = plans[0]["Plan"]
    assert rows_read(plan) <= most * SERIES * 1.05
    assert "Seq Scan" not in json.dumps(plan)


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe"]
)
@pytest.mark.parametrize("slot", ["1h", "1d"])
def test_what_is_added_up_is_what_its_minutes_come_to(slot: str, zone: str) -> None:
    """Over the changes of the clocks: Berlin's on 30 March, Lord Howe's on 6 April."""
    span = asked(slot, zone, start="2025-03-27T00:00", end="2025-04-08")
    boundaries = span.boundaries()
    expected: dict[tuple[datetime, str, str], int] = defaultdict(int)
    for start, end in pairwise(boundaries):
        minutes = (min(end, START + timedelta(days=DAYS)) - start) // MINUTE
        for currency in CURRENCIES:
            for status in STATUSES:
                expected[start, currency, status] += minutes
    found = volumes(span=span, merchant_id=None)
    assert {
        (one.slot_start.astimezone(UTC), one.currency, one.status): one.count for one in found
    } == expected
    assert all(one.amount_minor == one.count * 1250 for one in found)


def test_the_live_generation_alone_is_read_and_found_in_the_same_statement() -> None:
    """Between two statements a swap could take away the rows of the one found first."""
    with transaction.atomic():
        Slot.objects.filter(width="1d").update(generation=2)
    assert volumes(span=asked("1d", "UTC"), merchant_id=None) == []
    Generation.objects.create(consumer=CONSUMER, generation=1, state="retired")
    Generation.objects.create(consumer=CONSUMER, generation=2, state="live")
    with statements(connection) as executed:
        assert len(volumes(span=asked("1d", "UTC"), merchant_id=None)) == DAYS * SERIES
    assert len(executed) == 1


def test_totals_that_are_published_together_are_noted_in_one_statement() -> None:
    Slot.objects.of(None).filter(width="1h").update(dirty=True)
    with statements(connection) as executed:
        assert close_slots(at=START + timedelta(days=DAYS), limit=50) == 50
    assert len([query for query, _ in executed if "analytics_published_total (" in query]) == 1
    assert PublishedTotal.objects.count() == 50
