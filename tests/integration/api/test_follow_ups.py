"""Orders, loyalty accounts and events over REST."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts.models import User
from contracts.fields import Line
from contracts.money import Money
from outbox.models import OutboxEvent
from tests.integration.api.answers import MakePayment, problem_of, refused_fields
from tests.integration.sales import earn_points, instantiate_order

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def order(merchant: User) -> dict[str, UUID]:
    """An order of the merchant."""
    payment_id = uuid4()
    order = instantiate_order(
        payment_id=payment_id,
        merchant_id=merchant.id,
        customer_id="c-1",
        money=Money.parse("12.50", "EUR"),
        lines=[Line(sku="tea", quantity=2, unit_price_minor=625)],
        at=AT,
    )
    return {"id": order.id, "payment_id": payment_id}


def earn(merchant_id: UUID, amount: str = "12.50") -> UUID:
    payment_id = uuid4()
    earn_points(
        payment_id=payment_id,
        merchant_id=merchant_id,
        customer_id="c-1",
        money=Money.parse(amount, "EUR"),
        points_per_unit=1,
        at=AT,
    )
    return payment_id


def test_an_order_is_found_by_its_payment(api: APIClient, merchant: User, order: dict[str, UUID]) -> None:
    shown = {
        "id": str(order["id"]),
        "payment_id": str(order["payment_id"]),
        "merchant_id": str(merchant.id),
        "customer_id": "c-1",
        "total": "12.50",
        "currency": "EUR",
        "status": "created",
        "lines": [{"sku": "tea", "quantity": 2, "unit_price": "6.25"}],
        "shipping_address": None,
        "created_at": "2026-01-02T03:04:05Z",
        "modified_at": None,
        "cancelled_at": None,
        "cause": None,
        "reason": None,
    }
    assert api.get(f"/api/orders/?payment={order['payment_id']}").json()["results"] == [shown]
    assert api.get(f"/api/orders/?payment={uuid4()}").json()["results"] == []
    assert api.get(f"/api/orders/{order['id']}/").json() == shown


def test_orders_are_kept_apart(other_api: APIClient, staff_api: APIClient, order: dict[str, UUID]) -> None:
    problem_of(other_api.get(f"/api/orders/{order['id']}/"), 404)
    assert other_api.get(f"/api/orders/?payment={order['payment_id']}").json()["results"] == []
    assert staff_api.get(f"/api/orders/{order['id']}/").status_code == 200


def test_an_order_that_does_not_exist_is_not_found(api: APIClient) -> None:
    problem_of(api.get(f"/api/orders/{uuid4()}/"), 404)


def test_wrong_order_queries_are_refused(api: APIClient) -> None:
    assert refused_fields(api.get("/api/orders/?payment=7")) == {"payment"}
    assert refused_fields(api.get("/api/orders/?payment=")) == {"payment"}
    assert refused_fields(api.get("/api/orders/?paymnt=7")) == {"paymnt"}


def test_a_list_of_orders_asks_the_database_as_often_as_one(
    api: APIClient, merchant: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(10):
        instantiate_order(
            payment_id=uuid4(),
            merchant_id=merchant.id,
            customer_id="c-1",
            money=Money.parse("12.50", "EUR"),
            lines=[Line(sku="tea", quantity=2, unit_price_minor=625)],
            at=AT,
        )
    # The token with its user, its budget, its groups, the orders with their lines.
    with django_assert_max_num_queries(4):
        assert len(api.get("/api/orders/").json()["results"]) == 10


def test_an_account_shows_its_balance_and_its_entries(api: APIClient, merchant: User) -> None:
    first, second = earn(merchant.id), earn(merchant.id, "0.99")
    shown = api.get("/api/loyalty/accounts/c-1/").json()
    assert (shown["customer_id"], shown["merchant_id"], shown["balance"]) == ("c-1", str(merchant.id), 12)
    assert shown["next"] is None
    entries = {entry["payment_id"]: (entry["points"], entry["reason"]) for entry in shown["entries"]}
    assert entries == {str(first): (12, "earned"), str(second): (0, "earned")}


def test_an_account_that_does_not_exist_is_not_found(api: APIClient) -> None:
    problem_of(api.get("/api/loyalty/accounts/nobody/"), 404)
    problem_of(api.get("/api/loyalty/accounts/c%00/"), 404)
    problem_of(api.get("/api/loyalty/accounts/c%0A/"), 404)


def test_the_whole_ledger_can_be_read_page_by_page(
    api: APIClient, merchant: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty.api.SHOWN_ENTRIES", 2)
    payments = [str(earn(merchant.id)) for _ in range(5)]
    address, seen, pages = "/api/loyalty/accounts/c-1/", [], 0
    while address:
        page = api.get(address).json()
        assert page["balance"] == 60
        seen += [entry["payment_id"] for entry in page["entries"]]
        address, pages = page["next"], pages + 1
    assert pages == 3
    assert sorted(seen) == sorted(payments)
    assert refused_fields(api.get("/api/loyalty/accounts/c-1/?before=yesterday")) == {"before"}


def test_accounts_are_kept_apart(
    api: APIClient, other_api: APIClient, staff_api: APIClient, merchant: User
) -> None:
    earn(merchant.id)
    problem_of(other_api.get("/api/loyalty/accounts/c-1/"), 404)
    # Nor once it knows a customer of the same id: its own account is no answer to that question.
    earn(User.objects.get(username="second").id)
    problem_of(other_api.get(f"/api/loyalty/accounts/c-1/?merchant={merchant.id}"), 404)
    assert api.get(f"/api/loyalty/accounts/c-1/?merchant={merchant.id}").json()["balance"] == 12
    assert staff_api.get(f"/api/loyalty/accounts/c-1/?merchant={merchant.id}").json()["balance"] == 12


def test_staff_need_not_name_the_only_merchant(staff_api: APIClient, merchant: User) -> None:
    earn(merchant.id)
    assert staff_api.get("/api/loyalty/accounts/c-1/").json()["balance"] == 12


def test_staff_name_the_merchant_where_several_know_the_customer(
    staff_api: APIClient, merchant: User
) -> None:
    other = uuid4()
    earn(merchant.id)
    earn(other, "5.00")
    assert refused_fields(staff_api.get("/api/loyalty/accounts/c-1/")) == {"merchant"}
    assert staff_api.get(f"/api/loyalty/accounts/c-1/?merchant={other}").json()["balance"] == 5
    problem_of(staff_api.get(f"/api/loyalty/accounts/c-1/?merchant={uuid4()}"), 404)
    assert refused_fields(staff_api.get("/api/loyalty/accounts/c-1/?merchant=me")) == {"merchant"}
    problem_of(staff_api.get("/api/loyalty/accounts/nobody/"), 404)


def moved_past(event: OutboxEvent, consumer: str, outcome: str, *, delay: float = 0.0) -> None:
    """What a consumer writes when it has dealt with an event."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", key,'
            " number, type, outcome, occurred_at, processed_at)"
            " VALUES (%s, %s, 1, %s, 0, 0, %s, %s, %s, %s, %s, %s)",
            [
                event.id,
                consumer,
                event.topic,
                event.key,
                event.number,
                event.type,
                outcome,
                event.occurred_at,
                event.occurred_at + timedelta(seconds=delay),
            ],
        )


def published(event: OutboxEvent, *, partition: int, offset: int) -> None:
    """What the relay writes when Kafka has an event."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_publication (event_id, partition, "offset") VALUES (%s, %s, %s)',
            [event.id, partition, offset],
        )


def test_an_event_is_traced_from_the_outbox_to_every_consumer(
    api: APIClient, make_payment: MakePayment
) -> None:
    made = make_payment()
    address = f"/api/events/{made['event_id']}/"
    shown = api.get(address).json()
    assert shown == {
        "id": made["event_id"],
        "type": "payments.PaymentRequested.v1",
        "source": "/eventsite/payments",
        "topic": "payments",
        "key": made["id"],
        "number": 1,
        "occurred_at": made["created_at"],
        "correlation_id": made["event_id"],
        "causation_id": None,
        "data": {
            "payment_id": made["id"],
            "merchant_id": shown["data"]["merchant_id"],
            "customer_id": "c-1",
            "amount_minor": 1250,
            "currency": "EUR",
            "lines": [],
        },
        "publications": [],
        "consumers": [
            {"consumer": name, "status": "pending", "delay_seconds": None, "processed_at": None}
            for name in ("analytics", "loyalty", "orders")
        ],
    }

    event = OutboxEvent.objects.get(id=made["event_id"])
    published(event, partition=3, offset=17)
    moved_past(event, "orders", "processed", delay=0.25)
    moved_past(event, "loyalty", "unhandled")
    shown = api.get(address).json()
    [place] = shown["publications"]
    assert (place["topic"], place["partition"], place["offset"]) == ("payments", 3, 17)
    analytics, loyalty, orders = shown["consumers"]
    assert analytics["status"] == "pending"
    assert (orders["status"], orders["delay_seconds"]) == ("processed", 0.25)
    assert orders["processed_at"] is not None
    assert (loyalty["status"], loyalty["delay_seconds"], loyalty["processed_at"]) == ("unhandled", None, None)


@pytest.mark.parametrize("outcome", ["parked", "dead", "discarded"])
def test_what_held_an_event_up_is_shown(api: APIClient, make_payment: MakePayment, outcome: str) -> None:
    made = make_payment()
    moved_past(OutboxEvent.objects.get(id=made["event_id"]), "orders", outcome)
    shown = api.get(f"/api/events/{made['event_id']}/").json()["consumers"]
    assert {row["consumer"]: row["status"] for row in shown} == {
        "analytics": "pending",
        "loyalty": "pending",
        "orders": outcome,
    }


def test_events_are_filtered(api: APIClient, make_payment: MakePayment) -> None:
    made = make_payment()
    validated = api.post(f"/api/payments/{made['id']}/validate/").json()
    make_payment()

    def ids(query: str) -> list[str]:
        return [row["id"] for row in api.get(f"/api/events/?{query}").json()["results"]]

    assert len(ids("")) == 3
    assert ids(f"key={made['id']}") == [validated["event_id"], made["event_id"]]
    assert ids("type=payments.PaymentValidated.v1") == [validated["event_id"]]
    assert ids("topic=orders") == []
    assert ids(f"correlation_id={made['event_id']}") == [made["event_id"]]
    assert ids("page_size=1") == ids("")[:1]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("topic=nonsense", "topic"),
        ("key=%00", "key"),
        ("typ=x", "typ"),
        ("correlation_id=x", "correlation_id"),
        ("cursor=x", "cursor"),
    ],
)
def test_wrong_event_queries_are_refused(api: APIClient, query: str, field: str) -> None:
    assert refused_fields(api.get(f"/api/events/?{query}")) == {field}


def test_an_event_that_does_not_exist_is_not_found(api: APIClient) -> None:
    problem_of(api.get(f"/api/events/{uuid4()}/"), 404)


def test_a_page_of_events_asks_the_database_as_often_as_one(
    api: APIClient, make_payment: MakePayment, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(10):
        make_payment()
    # The token with its user, its budget, its groups, the events, their publications, their inbox rows.
    with django_assert_max_num_queries(6):
        assert len(api.get("/api/events/").json()["results"]) == 10


def test_a_request_hands_its_correlation_to_its_events(api: APIClient) -> None:
    correlation = str(uuid4())
    body = {"customer_id": "c-1", "amount": "1.00", "currency": "EUR"}
    made = api.post("/api/payments/", body, HTTP_X_CORRELATION_ID=correlation).json()
    assert api.get(f"/api/events/{made['event_id']}/").json()["correlation_id"] == correlation
