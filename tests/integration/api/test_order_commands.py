"""Changing and cancelling orders over REST: what is accepted, and that a refusal changes nothing."""

import json
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from contracts.fields import Line
from contracts.money import Money
from orders.models import Order, OrderLine
from outbox import clock
from outbox.models import OutboxEvent
from tests.integration.api.answers import problem_of, refused_fields
from tests.integration.api.bad_texts import BAD_TEXTS, GOOD_TEXTS, post_raw
from tests.integration.sales import instantiate_order

TEA = [{"sku": "tea", "quantity": 2, "unit_price": "6.25"}]
CUPS = [
    {"sku": "cup", "quantity": 1, "unit_price": "10"},
    {"sku": "spoon", "quantity": 5, "unit_price": "0.50"},
]
ADDRESS = "Rue de l'Église 3\n1000 Bruxelles 🇧🇪"


def make_order(merchant: User, *, amount: str = "12.50", currency: str = "EUR") -> str:
    money = Money.parse(amount, currency)
    order = instantiate_order(
        payment_id=uuid4(),
        merchant_id=merchant.id,
        customer_id="c-1",
        money=money,
        lines=[Line(sku="tea", quantity=2, unit_price_minor=money.amount_minor // 2)],
        at=clock.now(),
    )
    return str(order.id)


@pytest.fixture
def order(merchant: User) -> str:
    """The address of an order of 12.50 EUR."""
    return f"/api/orders/{make_order(merchant)}/"


def rows() -> tuple[list[Any], list[Any], int]:
    lines = OrderLine.objects.order_by("id").values()
    return list(Order.objects.values()), list(lines), OutboxEvent.objects.count()


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ({"lines": CUPS}, ["lines"]),
        ({"shipping_address": ADDRESS}, ["shipping_address"]),
        ({"shipping_address": ADDRESS, "lines": CUPS}, ["lines", "shipping_address"]),
    ],
)
def test_an_order_is_changed(api: APIClient, order: str, body: dict[str, Any], changed: list[str]) -> None:
    before = api.get(order).json()
    answer = api.patch(order, body)
    assert answer.status_code == 200, answer.content
    shown = answer.json()
    event = OutboxEvent.objects.get(id=shown.pop("event_id"))
    assert event.type == "orders.OrderModified.v1"
    assert json.loads(bytes(event.payload))["changed"] == changed
    assert shown["modified_at"] is not None
    lines = [line | {"unit_price": f"{float(line['unit_price']):.2f}"} for line in body.get("lines", TEA)]
    assert shown == before | {
        "status": "modified",
        "modified_at": shown["modified_at"],
        "shipping_address": body.get("shipping_address"),
        "lines": lines,
    }
    assert api.get(order).json() == shown


def test_prices_are_read_in_the_currency_of_the_order(api: APIClient, merchant: User) -> None:
    yen = f"/api/orders/{make_order(merchant, amount='500', currency='JPY')}/"
    line = {"sku": "rice", "quantity": 5, "unit_price": "100"}
    assert api.patch(yen, {"lines": [line]}).json()["lines"] == [line]
    answer = api.patch(yen, {"lines": [line, line | {"unit_price": "0.5"}]})
    assert refused_fields(answer) == {"lines.1.unit_price"}
    assert "JPY has 0 decimals" in answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [{"lines": TEA}, {"shipping_address": ADDRESS}, {"lines": TEA, "shipping_address": ADDRESS}]
)
def test_a_change_of_nothing_is_answered_and_told_to_nobody(
    api: APIClient, order: str, body: dict[str, Any]
) -> None:
    shown = api.patch(order, {"shipping_address": ADDRESS}).json()
    before = rows()
    answer = api.patch(order, body)
    assert (answer.status_code, answer.json()) == (200, shown | {"event_id": None})
    assert rows() == before


def test_another_total_is_refused_with_both_sums(api: APIClient, order: str) -> None:
    before = rows()
    answer = api.patch(order, {"lines": [*CUPS, *TEA], "shipping_address": ADDRESS})
    [error] = problem_of(answer, 400)["errors"]
    assert (error["field"], error["code"]) == ("lines", "lines_do_not_add_up")
    assert "25.00 EUR" in error["detail"]
    assert "12.50 EUR" in error["detail"]
    assert rows() == before


LINE = '{"sku": %s, "quantity": %s, "unit_price": %s}'
BAD_CHANGES: dict[str, str] = {
    "nothing in it": "{}",
    "unknown field": '{"shipping_address": "a", "total": "1"}',
    "status": '{"status": "cancelled"}',
    "address null": '{"shipping_address": null}',
    "address empty": '{"shipping_address": ""}',
    "address of blanks": r'{"shipping_address": "\n \u200b\u202e\u3000"}',
    "address too long": '{"shipping_address": "%s"}' % ("x" * 501),
    "address with a tab": r'{"shipping_address": "a\tb"}',
    "address with a carriage return": r'{"shipping_address": "a\r\nb"}',
    "address with NUL": r'{"shipping_address": "a\u0000b"}',
    "address with C1": r'{"shipping_address": "a\u0085b"}',
    "address with a lone surrogate": r'{"shipping_address": "a\udfffb"}',
    "address a number": '{"shipping_address": 7}',
    "address a boolean": '{"shipping_address": true}',
    "address lines": '{"shipping_address": ["a", "b"]}',
    "lines null": '{"lines": null}',
    "lines empty": '{"lines": []}',
    "lines an object": '{"lines": {"0": %s}}' % (LINE % ('"a"', 1, '"12.50"')),
    "lines a text": '{"lines": "tea"}',
    "lines of nothing": '{"lines": [null]}',
    "lines of texts": '{"lines": ["tea"]}',
    "lines nested": '{"lines": ' + "[" * 300 + "]" * 300 + "}",
    "lines too many, of the right sum": '{"lines": ['
    + ", ".join([LINE % ('"a"', 1, '"0.01"')] * 1_250)
    + "]}",
    "quantity zero": '{"lines": [%s]}' % (LINE % ('"a"', 0, '"12.50"')),
    "quantity negative": '{"lines": [%s]}' % (LINE % ('"a"', -1, '"12.50"')),
    "quantity too large": '{"lines": [%s]}' % (LINE % ('"a"', 10**6 + 1, '"0.01"')),
    "quantity huge": '{"lines": [%s]}' % (LINE % ('"a"', "9" * 4_000, '"0.01"')),
    "quantity a float": '{"lines": [%s]}' % (LINE % ('"a"', "1.0", '"12.50"')),
    "quantity a boolean": '{"lines": [%s]}' % (LINE % ('"a"', "true", '"12.50"')),
    "quantity a text": '{"lines": [%s]}' % (LINE % ('"a"', '"1"', '"12.50"')),
    "price a number": '{"lines": [%s]}' % (LINE % ('"a"', 1, "12.50")),
    "price too precise": '{"lines": [%s]}' % (LINE % ('"a"', 1, '"12.500"')),
    "price zero": '{"lines": [%s]}' % (LINE % ('"a"', 1, '"0"')),
    "price negative": '{"lines": [%s]}' % (LINE % ('"a"', 1, '"-12.50"')),
    "price huge": '{"lines": [%s]}' % (LINE % ('"a"', 1, '"%s"' % ("9" * 40))),
    "price too long": '{"lines": [%s]}' % (LINE % ('"a"', 1, '"%s"' % ("9" * 4_000))),
    "price of other digits": '{"lines": [%s]}' % (LINE % ('"a"', 1, '"\u0661\u0662.50"')),
    "sku empty": '{"lines": [%s]}' % (LINE % ('""', 1, '"12.50"')),
    "sku too long": '{"lines": [%s]}' % (LINE % ('"%s"' % ("x" * 101), 1, '"12.50"')),
    "sku with a line feed": '{"lines": [%s]}' % (LINE % (r'"a\nb"', 1, '"12.50"')),
    "sku with a lone surrogate": '{"lines": [%s]}' % (LINE % (r'"a\ud800"', 1, '"12.50"')),
    "line without a price": '{"lines": [{"sku": "a", "quantity": 1}]}',
    "line with more": '{"lines": [{"sku": "a", "quantity": 1, "unit_price": "12.50", "tax": 0}]}',
    "the largest sum": '{"lines": [' + ", ".join([LINE % ('"a"', 10**6, '"9999999999999.99"')] * 100) + "]}",
}


@pytest.mark.parametrize("name", BAD_CHANGES)
def test_a_bad_change_is_refused_and_changes_nothing(api: APIClient, order: str, name: str) -> None:
    before = rows()
    problem_of(post_raw(api, order, BAD_CHANGES[name], method="patch"), 400)
    assert rows() == before


@pytest.mark.parametrize("name", GOOD_TEXTS)
def test_texts_are_kept_as_they_are(api: APIClient, order: str, name: str) -> None:
    text = GOOD_TEXTS[name]
    sku = text[:100]
    body = {"shipping_address": text, "lines": [{"sku": sku, "quantity": 1, "unit_price": "12.50"}]}
    assert api.patch(order, body).status_code == 200
    assert api.post(f"{order}cancel/", {"reason": text}).status_code == 200
    shown = api.get(order).json()
    assert (shown["shipping_address"], shown["reason"], shown["lines"][0]["sku"]) == (text, text, sku)


@pytest.mark.parametrize("modified", [False, True])
def test_an_order_is_cancelled(api: APIClient, order: str, modified: bool) -> None:
    if modified:
        api.patch(order, {"lines": CUPS})
    before = api.get(order).json()
    answer = api.post(f"{order}cancel/", {"reason": "no stock"})
    assert answer.status_code == 200, answer.content
    shown = answer.json()
    assert OutboxEvent.objects.get(id=shown.pop("event_id")).type == "orders.OrderCancelled.v1"
    moment = shown["cancelled_at"]
    assert moment is not None
    cancelled = {"status": "cancelled", "cancelled_at": moment, "cause": "command", "reason": "no stock"}
    assert shown == before | cancelled
    assert api.get(order).json() == shown


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_a_bad_cancellation_is_refused_and_changes_nothing(api: APIClient, order: str, name: str) -> None:
    before = rows()
    problem_of(post_raw(api, f"{order}cancel/", BAD_TEXTS[name]), 400)
    assert rows() == before


@pytest.mark.parametrize("body", [{"lines": CUPS}, {"lines": TEA}, {"shipping_address": ADDRESS}])
def test_a_cancelled_order_can_be_changed_no_more(api: APIClient, order: str, body: dict[str, Any]) -> None:
    assert api.post(f"{order}cancel/", {"reason": "so"}).status_code == 200
    before = rows()
    assert problem_of(api.patch(order, body), 409)["code"] == "transition_forbidden"
    problem = problem_of(api.post(f"{order}cancel/", {"reason": "so"}), 409)
    assert "is cancelled; it cannot be cancelled any more" in problem["detail"]
    assert rows() == before


def test_merchants_act_on_their_own_and_operators_on_all(
    api: APIClient,
    other_api: APIClient,
    viewer_api: APIClient,
    staff_api: APIClient,
    operator_api: APIClient,
    order: str,
) -> None:
    before = rows()
    for client, status in ((other_api, 404), (viewer_api, 403), (staff_api, 403)):
        problem_of(client.patch(order, {"lines": CUPS}), status)
        problem_of(client.post(f"{order}cancel/", {"reason": "so"}), status)
    nowhere = f"/api/orders/{uuid4()}/"
    problem_of(api.patch(nowhere, {"lines": CUPS}), 404)
    problem_of(api.post(f"{nowhere}cancel/", {"reason": "so"}), 404)
    assert rows() == before
    assert viewer_api.get(order).status_code == staff_api.get(order).status_code == 200
    assert operator_api.patch(order, {"lines": CUPS}).status_code == 200
    assert operator_api.post(f"{order}cancel/", {"reason": "so"}).status_code == 200


def test_a_command_sent_again_under_its_key_is_carried_out_once(api: APIClient, order: str) -> None:
    for number in range(2):
        key, body = f"k-{number}", {"shipping_address": f"Somewhere {number}"}
        first, again = (api.patch(order, body, HTTP_IDEMPOTENCY_KEY=key) for _ in range(2))
        assert (first.status_code, first.content) == (200, again.content)
    first, again = (
        api.post(f"{order}cancel/", {"reason": "so"}, HTTP_IDEMPOTENCY_KEY="k-2") for _ in range(2)
    )
    assert (first.status_code, first.content) == (200, again.content)
    types = OutboxEvent.objects.filter(topic="orders").order_by("number").values_list("type", flat=True)
    assert [one.split(".")[1] for one in types] == [
        "OrderCreated",
        "OrderModified",
        "OrderModified",
        "OrderCancelled",
    ]
