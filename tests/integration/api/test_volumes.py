"""GET /api/analytics/payment-volumes/"""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import User
from analytics import selectors
from analytics.models import EVERYONE, Slot
from analytics.slots import MOST_MINUTES, MOST_SLOTS, WIDTHS, floor
from tests.integration.api.answers import problem_of, refused_fields

PATH = "/api/analytics/payment-volumes/"
DAY = {"from": "2026-03-28", "to": "2026-03-29"}


def count(
    moment: str, *, merchant_id: UUID, amount: int = 1250, currency: str = "EUR", status: str = "validated"
) -> None:
    """One payment in all its slots, the merchant's and everyone's; each of its own in this test."""
    happened = datetime.fromisoformat(moment).astimezone(UTC)
    for width, length in WIDTHS.items():
        for whose in (merchant_id, EVERYONE):
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO analytics_slot VALUES (1, %s, %s, %s, %s, %s, 1, %s, true)"
                    " ON CONFLICT (generation, width, merchant_id, slot_start, currency, status) DO UPDATE"
                    " SET count = analytics_slot.count + 1,"
                    " amount_minor = analytics_slot.amount_minor + EXCLUDED.amount_minor",
                    [width, whose, floor(happened, length), currency, status, amount],
                )


def ask(client: APIClient, **parameters: str) -> list[dict[str, Any]]:
    answer = client.get(PATH, parameters)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/json"
    found: list[dict[str, Any]] = answer.json()
    return found


def test_each_slot_currency_and_status_in_order(api: APIClient, merchant: User) -> None:
    count("2026-03-28T10:00:59Z", merchant_id=merchant.id)
    count("2026-03-28T10:59:00Z", merchant_id=merchant.id, amount=1)
    count("2026-03-28T10:01:00Z", merchant_id=merchant.id, status="pending")
    count("2026-03-28T09:00:00Z", merchant_id=merchant.id, currency="JPY")
    count("2026-03-28T09:30:00Z", merchant_id=merchant.id, currency="BHD", amount=10**15)
    assert ask(api, slot="1h", **DAY) == [
        {"slot_start": "2026-03-28T09:00:00+00:00", "currency": "BHD", "status": "validated", "count": 1,
         "amount": "1000000000000.000"},
        {"slot_start": "2026-03-28T09:00:00+00:00", "currency": "JPY", "status": "validated", "count": 1,
         "amount": "1250"},
        {"slot_start": "2026-03-28T10:00:00+00:00", "currency": "EUR", "status": "pending", "count": 1,
         "amount": "12.50"},
        {"slot_start": "2026-03-28T10:00:00+00:00", "currency": "EUR", "status": "validated", "count": 2,
         "amount": "12.51"},
    ]  # fmt: skip
    assert [row["slot_start"][11:16] for row in ask(api, slot="1m", currency="EUR", **DAY)] == [
        "10:00",
        "10:01",
        "10:59",
    ]
    assert len(ask(api, slot="5m", status="validated", currency="EUR", **DAY)) == 2


def test_days_are_those_of_the_zone(api: APIClient, merchant: User) -> None:
    # Clocks in Berlin go forward on the 29th: its day lasts from 23:00 to 22:00 in UTC.
    for moment in ("28T22:59", "28T23:00", "29T21:59", "29T22:00"):
        count(f"2026-03-{moment}Z", merchant_id=merchant.id)
    span = {"slot": "1d", "from": "2026-03-28", "to": "2026-03-31"}
    berlin = ask(api, tz="Europe/Berlin", **span)
    assert [(row["slot_start"], row["count"]) for row in berlin] == [
        ("2026-03-28T00:00:00+01:00", 1),
        ("2026-03-29T00:00:00+01:00", 2),
        ("2026-03-30T00:00:00+02:00", 1),
    ]
    assert [(row["slot_start"][:10], row["count"]) for row in ask(api, **span)] == [
        ("2026-03-28", 2),
        ("2026-03-29", 2),
    ]
    kathmandu = ask(api, tz="Asia/Kathmandu", **span)
    assert [(row["slot_start"], row["count"]) for row in kathmandu] == [
        ("2026-03-29T00:00:00+05:45", 2),
        ("2026-03-30T00:00:00+05:45", 2),
    ]


def test_merchants_see_their_own_and_others_everyones(
    api: APIClient, merchant: User, other_api: APIClient, staff_api: APIClient, viewer_api: APIClient
) -> None:
    other = uuid4()
    count("2026-03-28T10:00Z", merchant_id=merchant.id)
    count("2026-03-28T10:00Z", merchant_id=other)
    assert [row["count"] for row in ask(api, **DAY)] == [1]
    assert [row["count"] for row in ask(api, merchant=str(merchant.id), **DAY)] == [1]
    assert ask(other_api, **DAY) == []
    problem_of(other_api.get(PATH, {"merchant": str(merchant.id)}), 404)
    for all_seeing in (staff_api, viewer_api):
        assert [row["count"] for row in ask(all_seeing, **DAY)] == [2]
        assert [row["count"] for row in ask(all_seeing, merchant=str(other), **DAY)] == [1]


def test_the_last_slots_up_to_now_when_nothing_is_said(api: APIClient, merchant: User) -> None:
    now = datetime.now(UTC)
    count(now.isoformat(), merchant_id=merchant.id)
    count((now - timedelta(hours=62)).isoformat(), merchant_id=merchant.id)
    assert [row["slot_start"] for row in ask(api)] == [floor(now, WIDTHS["1h"]).isoformat()]


@pytest.mark.parametrize("how", ["accept", "format"])
def test_as_csv(api: APIClient, merchant: User, how: str) -> None:
    count("2026-03-28T10:00Z", merchant_id=merchant.id)
    answer = (
        api.get(PATH, {**DAY, "format": "csv"})
        if how == "format"
        else api.get(PATH, DAY, headers={"Accept": "text/csv"})
    )
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Vary"].startswith("Accept")
    assert list(csv.reader(io.StringIO(answer.content.decode(), newline=""))) == [
        ["slot_start", "currency", "status", "count", "amount"],
        ["2026-03-28T10:00:00+00:00", "EUR", "validated", "1", "12.50"],
    ]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"slot": "2h"}, "slot"),
        ({"slot": ""}, "slot"),
        ({"from": "2026-03-29", "to": "2026-03-28"}, "to"),
        ({"from": "1980-01-01", "to": "2080-01-01", "slot": "1d"}, "from"),
        ({"from": "2025-01-01", "to": "2026-01-03", "slot": "1m"}, "from"),
        ({"from": "0001-01-01"}, "from"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "last week"}, "from"),
        ({"from": "2026-03-28\x00"}, "from"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"tz": "../../etc/passwd"}, "tz"),
        ({"tz": ""}, "tz"),
        ({"tz": "a" * 10_000}, "tz"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"status": "paid"}, "status"),
        ({"merchant": "me"}, "merchant"),
        ({"slots": "1h"}, "slots"),
        ({"slot": ["1h", "1d"]}, "slot"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_what_makes_no_sense_is_refused(
    api: APIClient, parameters: dict[str, Any], field: str, accept: str
) -> None:
    assert refused_fields(api.get(PATH, parameters, headers={"Accept": accept})) == {field}


def test_the_range_may_have_as_many_slots_as_are_answered(api: APIClient) -> None:
    end = datetime(2026, 1, 1, tzinfo=UTC)
    for slot, most in (("1d", MOST_SLOTS), ("1h", MOST_SLOTS), ("5m", MOST_MINUTES), ("1m", MOST_MINUTES)):
        for slots, status in ((most, 200), (most + 1, 400)):
            start = end - slots * WIDTHS[slot]
            answer = api.get(PATH, {"slot": slot, "from": start.isoformat(), "to": end.isoformat()})
            assert answer.status_code == status


@pytest.mark.usefixtures("db")
def test_an_answer_has_so_many_rows_and_no_more(
    api: APIClient, merchant: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = datetime(2026, 3, 28, tzinfo=UTC)
    Slot.objects.bulk_create(
        Slot(
            generation=1, width=width, merchant_id=merchant.id, slot_start=start + number * WIDTHS[width],
            currency="EUR", status="validated", count=1, amount_minor=1,
        )
        for width in WIDTHS for number in range(4)
    )  # fmt: skip
    questions = [{"slot": "1m"}, {"slot": "1h"}, {"slot": "1d", "to": "2026-04-01", "tz": "Asia/Kathmandu"}]
    monkeypatch.setattr(selectors, "MOST_ROWS", 4)
    for asked in questions:
        assert ask(api, **{**DAY, **asked})
    monkeypatch.setattr(selectors, "MOST_ROWS", 0)
    for asked in questions:
        problem = problem_of(api.get(PATH, {**DAY, **asked}), 400)
        assert problem["errors"][0]["code"] == "too_many_rows"


@pytest.mark.usefixtures("db")
def test_a_year_of_minutes_is_answered_with_those_in_which_something_was_paid(
    api: APIClient, merchant: User
) -> None:
    at = datetime(2025, 7, 1, 12, 34, tzinfo=UTC)
    Slot.objects.create(
        generation=1, width="1m", merchant_id=merchant.id, slot_start=at,
        currency="EUR", status="validated", count=1, amount_minor=1250,
    )  # fmt: skip
    year = {"slot": "1m", "from": "2025-01-01", "to": "2026-01-01", "tz": "Asia/Kathmandu"}
    [row] = ask(api, **year)
    assert row["slot_start"] == "2025-07-01T18:19:00+05:45"


@pytest.mark.usefixtures("db")
def test_nobody_sees_anything_without_signing_in(anonymous: APIClient) -> None:
    problem_of(anonymous.get(PATH), 401)


@pytest.mark.usefixtures("db")
def test_sums_beyond_a_bigint_are_exact(api: APIClient, merchant: User) -> None:
    start = datetime(2026, 3, 28, tzinfo=UTC)
    Slot.objects.bulk_create(
        Slot(
            generation=1, width="1h", merchant_id=merchant.id, slot_start=start + hour * WIDTHS["1h"],
            currency="EUR", status="validated", count=10**12, amount_minor=10**27 + hour,
        )
        for hour in range(2)
    )  # fmt: skip
    [row] = ask(api, slot="1d", tz="Europe/Berlin", **DAY | {"from": "2026-03-27"})
    assert row["amount"] == "20000000000000000000000000.01"
