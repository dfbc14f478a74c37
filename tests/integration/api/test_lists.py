"""Lists of payments and orders: by span of time, from either end, in pages that no write disturbs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from contracts.money import Money
from orders.services import cancel_order, modify_order
from payments.services import request_payment
from tests.integration.api.answers import problem_of, refused_fields
from tests.integration.sales import instantiate_order

AT = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
EUROS = Money.parse("12.50", "EUR")
Make = Callable[..., UUID]


def payment(merchant_id: UUID, *, at: datetime, customer_id: str = "c-1") -> UUID:
    made, _ = request_payment(merchant_id=merchant_id, customer_id=customer_id, money=EUROS, at=at)
    return made.id


def order(merchant_id: UUID, *, at: datetime, customer_id: str = "c-1") -> UUID:
    made = instantiate_order(
        payment_id=uuid4(), merchant_id=merchant_id, customer_id=customer_id, money=EUROS, lines=[], at=at
    )
    return made.id


LISTS = pytest.mark.parametrize(("path", "make"), [("payments", payment), ("orders", order)])


def pages(api: APIClient, address: str) -> list[list[str]]:
    """The ids of each page, following `next` to the end."""
    found: list[list[str]] = []
    following: str | None = address
    while following is not None:
        body = api.get(following).json()
        found.append([row["id"] for row in body["results"]])
        following = body["next"]
    return found


def ids(api: APIClient, path: str, query: str) -> list[str]:
    return [one for page in pages(api, f"/api/{path}/?{query}") for one in page]


@LISTS
def test_lists_come_from_either_end(api: APIClient, merchant: User, path: str, make: Make) -> None:
    made = [str(make(merchant.id, at=AT + timedelta(seconds=number))) for number in range(5)]
    assert ids(api, path, "") == ids(api, path, "ordering=-created_at") == made[::-1]
    assert ids(api, path, "ordering=created_at") == made
    assert pages(api, f"/api/{path}/?ordering=created_at&page_size=2") == [made[:2], made[2:4], made[4:]]


@LISTS
@pytest.mark.parametrize("ordering", ["created_at", "-created_at"])
def test_no_row_that_comes_between_pages_moves_another(
    api: APIClient, merchant: User, path: str, make: Make, ordering: str
) -> None:
    made = [str(make(merchant.id, at=AT + timedelta(seconds=number))) for number in range(6)]
    expected = made if ordering == "created_at" else made[::-1]
    first = api.get(f"/api/{path}/?ordering={ordering}&page_size=2").json()
    # At both ends, and between the two rows of the page that has been read.
    for moment in (AT - timedelta(days=1), AT + timedelta(days=1)):
        make(merchant.id, at=moment)
    between = make(merchant.id, at=AT + timedelta(seconds=0.5 if ordering == "created_at" else 4.5))
    second = api.get(first["next"]).json()
    assert [row["id"] for row in first["results"]] == expected[:2]
    assert [row["id"] for row in second["results"]] == expected[2:4]
    back = api.get(second["previous"]).json()
    assert [row["id"] for row in back["results"]] == [str(between), expected[1]]
    third = api.get(second["next"]).json()
    assert [row["id"] for row in third["results"]][:2] == expected[4:]


@LISTS
def test_rows_of_one_moment_are_in_one_page_each(
    api: APIClient, merchant: User, path: str, make: Make
) -> None:
    made = {str(make(merchant.id, at=AT)) for _ in range(7)}
    for ordering in ("created_at", "-created_at"):
        found = ids(api, path, f"ordering={ordering}&page_size=2")
        assert (set(found), len(found)) == (made, 7)


@LISTS
def test_a_span_has_its_beginning_and_not_its_end(
    api: APIClient, merchant: User, path: str, make: Make
) -> None:
    moments = [AT + timedelta(microseconds=number) for number in (-1_000, -1, 0, 1, 1_000)]
    made = [str(make(merchant.id, at=moment)) for moment in moments]

    def between(**span: datetime) -> list[str]:
        query = "&".join(f"created_{name}={quote(at.isoformat())}" for name, at in span.items())
        found = ids(api, path, query)
        return [name for name in made if name in found]

    assert between(after=AT) == made[2:]
    assert between(before=AT) == made[:2]
    assert between(after=moments[1], before=moments[3]) == made[1:3]
    assert between(after=AT, before=AT) == []
    elsewhere = timezone(timedelta(hours=-9, minutes=-30))
    assert between(after=AT.astimezone(elsewhere)) == made[2:]
    assert between(after=datetime(1, 1, 1, tzinfo=UTC), before=datetime(9999, 12, 31, tzinfo=UTC)) == made


@pytest.mark.parametrize(
    "text",
    ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02T04:04:05%2B01:00", "2026-01-02T03:04Z"],
)
def test_times_are_read_as_they_are_written(api: APIClient, merchant: User, text: str) -> None:
    made = str(payment(merchant.id, at=AT))
    assert ids(api, "payments", f"created_after={text}") == [made]
    assert ids(api, "payments", f"created_before={text}") == []


@LISTS
@pytest.mark.parametrize("name", ["created_after", "created_before"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05+01:00",  # the + is a space by now
        "2026-01-02T25:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-02T03:04:60Z",
        "2026-W01-1T00:00:00Z",
        "20260102T030405Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00%2B14:00",
        "9999-12-31T23:59:59-14:00",
        "10000-01-01T00:00:00Z",
        "1767323045",
        "2026-01-02T03:04:05%00Z",
        "2026-01-02T03:04:05Z%0A",
        "%D9%A2%D9%A0%D9%A2%D9%A6-01-02T03:04:05Z",
        "2026-01-02T03:04:05." + "9" * 5_000 + "x",
    ],
)
def test_what_is_no_time_is_refused_by_name(
    api: APIClient, path: str, make: Make, name: str, text: str
) -> None:
    assert refused_fields(api.get(f"/api/{path}/?{name}={text}")) == {name}


@LISTS
def test_a_span_upside_down_is_refused(api: APIClient, path: str, make: Make) -> None:
    query = "created_after=2026-01-02T00:00:00Z&created_before=2026-01-01T00:00:00Z"
    answer = api.get(f"/api/{path}/?{query}")
    assert refused_fields(answer) == {"created_before"}
    assert "before created_after" in answer.json()["detail"]


@LISTS
@pytest.mark.parametrize(
    "query",
    [
        "ordering=",
        "ordering=id",
        "ordering=amount",
        "ordering=created_at,amount",
        "ordering=--created_at",
        "ordering=-created_at%00",
    ],
)
def test_no_other_order_is_offered(api: APIClient, path: str, make: Make, query: str) -> None:
    assert refused_fields(api.get(f"/api/{path}/?{query}")) == {"ordering"}


def test_orders_are_filtered(api: APIClient, merchant: User) -> None:
    first, second, third = (
        order(merchant.id, at=AT + timedelta(seconds=number), customer_id=f"c-{number}")
        for number in range(3)
    )
    modify_order(order_id=second, merchant_id=None, shipping_address="Elsewhere", at=AT)
    cancel_order(order_id=third, merchant_id=None, reason="so", at=AT)
    queries: dict[str, list[UUID]] = {
        "status=created": [first],
        "status=modified": [second],
        "status=cancelled": [third],
        "customer_id=c-1": [second],
        "customer_id=c-1&status=created": [],
        "customer_id=c-9": [],
        f"created_after={(AT + timedelta(seconds=1)).isoformat().replace('+', '%2B')}": [third, second],
    }
    for query, expected in queries.items():
        assert ids(api, "orders", query) == [str(one) for one in expected], query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=paid", "status"),
        ("customer_id=", "customer_id"),
        ("customer_id=%20", "customer_id"),
        ("customer_id=%E3%80%80", "customer_id"),
        ("payment=%20", "payment"),
        ("status=created&status=modified", "status"),
        ("amount=1", "amount"),
        *(
            (f"cursor={cursor}", "cursor")
            for cursor in ("", "%3D%3D", "%00", "AA%3D%3D", "bz0xMDAw", "cj0x", "é")
        ),
    ],
)
def test_wrong_queries_are_refused_by_name(api: APIClient, query: str, field: str) -> None:
    assert refused_fields(api.get(f"/api/orders/?{query}")) == {field}


def test_everybody_is_kept_apart_in_every_order(
    api: APIClient, other_api: APIClient, viewer_api: APIClient, merchant: User
) -> None:
    made: list[Any] = [str(payment(merchant.id, at=AT))]
    query = "ordering=created_at&created_after=2026-01-01T00:00:00Z"
    assert ids(api, "payments", query) == ids(viewer_api, "payments", query) == made
    assert ids(other_api, "payments", query) == []


def test_blanks_around_a_value_belong_to_it(api: APIClient, merchant: User) -> None:
    payment, _ = request_payment(merchant_id=merchant.id, customer_id="a", money=Money(1, "EUR"), at=AT)
    assert ids(api, "payments", "customer_id=a") == [str(payment.id)]
    assert ids(api, "payments", "customer_id=%20a") == []


@LISTS
def test_whoever_sees_all_narrows_a_list_to_one_merchant(
    api: APIClient, viewer_api: APIClient, merchant: User, path: str, make: Make
) -> None:
    own, others = make(merchant.id, at=AT), make(other := uuid4(), at=AT)

    def found(client: APIClient, merchant_id: object) -> list[tuple[str, str]]:
        answer = client.get(f"/api/{path}/?merchant={merchant_id}")
        assert answer.status_code == 200, answer.content
        return [(row["id"], row["merchant_id"]) for row in answer.json()["results"]]

    assert found(viewer_api, merchant.id) == [(str(own), str(merchant.id))]
    assert found(viewer_api, other) == [(str(others), str(other))]
    assert found(viewer_api, uuid4()) == []
    assert found(api, merchant.id) == [(str(own), str(merchant.id))]
    # Another's are not there for a merchant, asked for or not.
    assert found(api, other) == []
    assert [row["id"] for row in api.get(f"/api/{path}/").json()["results"]] == [str(own)]
    problem_of(viewer_api.get(f"/api/{path}/?merchant=somebody"), 400)
    assert viewer_api.get(f"/api/{path}/{others}/").json()["merchant_id"] == str(other)
