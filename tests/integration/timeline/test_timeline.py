"""What happened to a payment, across all services."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.services import ensure_user
from contracts.money import Money
from orders.models import Order
from orders.services import cancel_order, modify_order
from outbox.context import caused_by
from outbox.ids import new_id
from outbox.models import OutboxEvent
from outbox.registry import all_consumers
from outbox.selectors import traces
from payments.services import refund_payment, reject_payment, request_payment, validate_payment
from tests.engine import Writer
from tests.integration.settling import settle
from timeline import selectors
from timeline.examples import VALIDATED_PAYMENT
from timeline.selectors import get_timeline, in_causal_order

pytestmark = pytest.mark.django_db
EARLIER = timedelta(minutes=3)


@pytest.fixture
def merchant() -> User:
    return ensure_user(username="first", password=None, groups=["merchant"])


def pay(merchant: User, *, customer: str = "c-1", validate: bool = True) -> UUID:
    at = datetime.now(UTC)
    payment, _ = request_payment(
        merchant_id=merchant.id, customer_id=customer, money=Money(1_250, "EUR"), at=at
    )
    if validate:
        validate_payment(payment_id=payment.id, merchant_id=merchant.id, at=at)
    return payment.id


def ask(user: User, payment_id: UUID) -> Any:
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client.get(f"/api/payments/{payment_id}/timeline/")


def told(user: User, payment_id: UUID) -> dict[str, Any]:
    answer = ask(user, payment_id)
    assert answer.status_code == 200, answer.content
    shown: dict[str, Any] = answer.json()
    return shown


def names(shown: dict[str, Any]) -> list[str]:
    return [entry["type"].split(".")[1] for entry in shown["entries"]]


def test_a_payment_that_was_only_requested(merchant: User) -> None:
    payment_id = pay(merchant, validate=False)
    shown = told(merchant, payment_id)
    [entry] = shown.pop("entries")
    assert shown == {
        "payment_id": str(payment_id),
        "status": "pending",
        "order_id": None,
        "points": None,
        "omitted": 0,
    }
    assert (entry["service"], entry["type"], entry["at"]) == (
        "payments",
        "payments.PaymentRequested.v1",
        entry["occurred_at"],
    )
    assert entry["publications"] == []
    assert {reception["status"] for reception in entry["consumers"]} == {"pending"}


def test_a_refund_is_told_to_its_last_consequence(merchant: User) -> None:
    payment_id = pay(merchant)
    settle()
    refund_payment(payment_id=payment_id, merchant_id=merchant.id, reason="damaged", at=datetime.now(UTC))
    settle()
    shown = told(merchant, payment_id)
    assert names(shown)[:2] == ["PaymentRequested", "PaymentValidated"]
    assert set(names(shown)[2:4]) == {"OrderCreated", "PointsEarned"}
    assert names(shown)[4] == "PaymentRefunded"
    assert set(names(shown)[5:]) == {"OrderCancelled", "PointsReversed"}
    assert (shown["status"], shown["points"]) == ("refunded", 0)
    assert shown["order_id"] == str(Order.objects.get(payment_id=payment_id).id)
    assert {entry["service"] for entry in shown["entries"]} == {"payments", "orders", "loyalty"}
    for entry in shown["entries"]:
        assert entry["publications"]
        assert {reception["status"] for reception in entry["consumers"]} <= {"processed", "unhandled"}
    assert "damaged" not in json.dumps(shown)


def test_a_cancellation_comes_before_the_refund_that_it_caused(merchant: User) -> None:
    payment_id = pay(merchant)
    settle()
    order = Order.objects.get(payment_id=payment_id)
    cancel_order(order_id=order.id, merchant_id=merchant.id, reason="late", at=datetime.now(UTC))
    settle()
    shown = told(merchant, payment_id)
    order_of = names(shown).index
    assert order_of("OrderCancelled") < order_of("PaymentRefunded") < order_of("PointsReversed")
    cancelled, refunded = (shown["entries"][order_of(name)] for name in ("OrderCancelled", "PaymentRefunded"))
    assert refunded["causation_id"] == cancelled["id"]


def test_a_rejection_ends_it(merchant: User) -> None:
    payment_id = pay(merchant, validate=False)
    reject_payment(payment_id=payment_id, merchant_id=merchant.id, reason="no", at=datetime.now(UTC))
    settle()
    shown = told(merchant, payment_id)
    assert names(shown) == ["PaymentRequested", "PaymentRejected"]
    assert (shown["status"], shown["order_id"], shown["points"]) == ("rejected", None, None)


def test_other_payments_of_the_same_customer_and_the_same_story_stay_out(merchant: User) -> None:
    with caused_by(correlation_id=uuid4()):
        payment_id, other = pay(merchant), pay(merchant)
    settle()
    shown = told(merchant, payment_id)
    assert len(shown["entries"]) == 4
    assert str(other) not in json.dumps(shown)


def test_what_is_under_way_is_known(merchant: User) -> None:
    payment_id = pay(merchant)
    settle(but=["loyalty"])
    timeline = get_timeline(payment_id=payment_id, merchant_id=None)
    assert timeline.under_way
    assert [entry.event.topic for entry in timeline.entries if entry.under_way] == ["payments"] * 2
    settle()
    assert not get_timeline(payment_id=payment_id, merchant_id=None).under_way


def test_who_may_see_it(merchant: User) -> None:
    payment_id = pay(merchant)
    other = ensure_user(username="second", password=None, groups=["merchant"])
    assert ask(other, payment_id).status_code == 404
    assert ask(merchant, uuid4()).status_code == 404
    for name, groups in (("viewer", ["viewer"]), ("operator", ["operator"])):
        assert len(told(ensure_user(username=name, password=None, groups=groups), payment_id)["entries"]) == 2
    assert (
        Client(headers={"host": "localhost"}).get(f"/api/payments/{payment_id}/timeline/").status_code == 401
    )


def test_the_documents_example_is_what_is_answered(merchant: User) -> None:
    payment_id = pay(merchant)
    settle()
    shown = told(merchant, payment_id)
    assert list(shown) == list(VALIDATED_PAYMENT)
    assert sorted(names(shown)) == sorted(names(VALIDATED_PAYMENT))
    declared = {consumer.name for consumer in all_consumers()}
    for name in names(shown):
        mine, example = (
            next(entry for entry in told["entries"] if name in entry["type"])
            for told in (shown, VALIDATED_PAYMENT)
        )
        assert list(mine) == list(example)
        assert mine["data"].keys() == example["data"].keys()
        assert mine["key"].count(":") == example["key"].count(":")
        made_of_it, expected = (
            {each["consumer"]: each["status"] for each in entry["consumers"]} for entry in (mine, example)
        )
        assert made_of_it == {name: word for name, word in expected.items() if name in declared}


def test_of_an_order_that_was_changed_very_often_the_first_and_the_latest_are_told(
    merchant: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "MOST_OF_AN_ORDER", 3)
    payment_id = pay(merchant)
    settle()
    order = Order.objects.get(payment_id=payment_id)
    for number in range(6):
        modify_order(
            order_id=order.id,
            merchant_id=merchant.id,
            shipping_address=f"Street {number}",
            at=datetime.now(UTC),
        )
    shown = told(merchant, payment_id)
    numbers = [entry["number"] for entry in shown["entries"] if entry["topic"] == "orders"]
    assert (numbers, shown["omitted"]) == ([1, 5, 6, 7], 3)


def test_causes_and_numbers_order_what_clocks_disagree_about() -> None:
    now = datetime.now(UTC)

    def event(number: int, *, key: str, at: datetime, cause: OutboxEvent | None = None) -> OutboxEvent:
        return OutboxEvent(
            id=new_id(at),
            topic="t",
            key=key,
            number=number,
            occurred_at=at,
            causation_id=cause.id if cause else None,
        )

    first = event(1, key="a", at=now)
    follows = event(1, key="b", at=now - EARLIER, cause=first)
    second = event(2, key="a", at=now - EARLIER)
    third = event(1, key="c", at=now + EARLIER)
    assert in_causal_order([third, second, follows, first])[0] is first
    assert in_causal_order([third, second, follows, first])[-1] is third
    # An event that names itself or an unknown one as its cause is a beginning.
    lost = event(1, key="d", at=now)
    lost.causation_id = lost.id
    assert in_causal_order([lost]) == [lost]


@pytest.mark.django_db(transaction=True)
def test_what_was_processed_is_never_told_without_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    merchant = ensure_user(username="alone", password=None)
    payment_id = pay(merchant)
    look = traces

    def settle_first(events: Any) -> Any:
        """Everything happens between the reading of the events and that of what became of them."""
        with Writer() as others:
            others.call(settle)
        return look(events)

    monkeypatch.setattr(selectors, "traces", settle_first)
    during = get_timeline(payment_id=payment_id, merchant_id=merchant.id)
    assert (during.order, during.under_way) == (None, True)
    monkeypatch.undo()
    after = get_timeline(payment_id=payment_id, merchant_id=merchant.id)
    assert (after.order is None, after.under_way, len(after.entries)) == (False, False, 4)


def rows_read(plan: dict[str, Any]) -> int:
    """The rows that a plan's leaves have looked at, those thrown away included."""
    if "Plans" in plan:
        below = sum(rows_read(each) for each in plan["Plans"])
        return int(
            below + plan.get("Rows Removed by Index Recheck", 0) + plan.get("Rows Removed by Filter", 0)
        )
    seen = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(seen * plan["Actual Loops"])


def test_a_customer_with_very_many_events_costs_nothing(merchant: User) -> None:
    payment_id = pay(merchant)
    settle()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO outbox_event (id, shard, topic, key, number, type, source, occurred_at,
                correlation_id, causation_id, content_type, payload, owner)
            SELECT overlay(id::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, shard, topic, key,
                number + n, type, source, occurred_at, gen_random_uuid(), gen_random_uuid(), content_type,
                payload, owner
            FROM outbox_event, generate_series(1, 100000) n WHERE topic = 'loyalty'
            """
        )
        cursor.execute("ANALYZE outbox_event")
    with CaptureQueriesContext(connection) as captured:
        timeline = get_timeline(payment_id=payment_id, merchant_id=merchant.id)
    assert len(timeline.entries) == 4
    assert len(captured) <= 12
    plans = []
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
            plans.append(cursor.fetchone()[0][0]["Plan"])
    assert sum(map(rows_read, plans)) < 100, plans
