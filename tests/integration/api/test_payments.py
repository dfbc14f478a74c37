"""Payments over REST: what is accepted, and what each refusal says."""

import json
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from outbox.models import OutboxEvent
from payments.models import Payment
from tests.integration.api.answers import MakePayment, problem_of, refused_fields


def test_a_payment_is_requested_and_shown(api: APIClient, merchant: User, make_payment: MakePayment) -> None:
    made = make_payment(
        lines=[{"sku": "tea", "quantity": 2, "unit_price": "6.25"}], metadata={"basket": "42"}
    )
    event_id = made.pop("event_id")
    assert made == {
        "id": made["id"],
        "merchant_id": str(merchant.id),
        "customer_id": "c-1",
        "amount": "12.50",
        "currency": "EUR",
        "status": "pending",
        "lines": [{"sku": "tea", "quantity": 2, "unit_price": "6.25"}],
        "metadata": {"basket": "42"},
        "created_at": made["created_at"],
        "expires_at": made["expires_at"],
        "validated_at": None,
        "rejected_at": None,
        "refunded_at": None,
        "cause": None,
        "reason": None,
    }
    assert api.get(f"/api/payments/{made['id']}/").json() == made
    assert api.get("/api/payments/").json() == {"next": None, "previous": None, "results": [made]}
    event = OutboxEvent.objects.get(id=event_id)
    assert (event.type, event.key) == ("payments.PaymentRequested.v1", made["id"])
    assert "basket" not in bytes(event.payload).decode()


@pytest.mark.parametrize(
    ("amount", "currency", "shown"), [("12.5", "EUR", "12.50"), ("7", "JPY", "7"), ("1.2", "BHD", "1.200")]
)
def test_amounts_are_shown_with_the_decimals_of_their_currency(
    make_payment: MakePayment, amount: str, currency: str, shown: str
) -> None:
    assert make_payment(amount=amount, currency=currency)["amount"] == shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "12.505"),
        ("amount", "-12.50"),
        ("amount", "0"),
        ("amount", "0.00"),
        ("amount", "1e3"),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "99999999999999999999"),
        ("amount", "9" * 5_000),
        ("amount", ""),
        ("amount", 12.5),
        ("amount", 12),
        ("amount", True),
        ("amount", None),
        ("amount", ["12.50"]),
        ("amount", {"value": "12.50"}),
        ("currency", "XXX"),
        ("currency", "eur"),
        ("currency", "EURO"),
        ("currency", 978),
        ("currency", None),
        ("customer_id", ""),
        ("customer_id", "Jane Doe"),
        ("customer_id", "jane@example.org"),
        ("customer_id", "c\u0000"),
        ("customer_id", "c-1\n"),
        ("customer_id", "c" * 101),
        ("customer_id", 17),
        ("metadata", "text"),
        ("metadata", ["a"]),
        ("metadata", {"n": 1}),
        ("metadata", {"a": "\u0000"}),
        ("metadata", {"a": "x" * 501}),
        ("metadata", {"a\u0000": "x"}),
        ("metadata", {"a" * 41: "x"}),
        ("metadata", {f"n{n}": "x" for n in range(21)}),
        ("lines", "tea"),
        ("lines", {"sku": "tea"}),
        ("lines", ["tea"]),
        ("lines", None),
    ],
    ids=lambda value: str(value)[:24],
)
def test_input_that_is_wrong_is_refused_by_the_name_of_its_field(
    api: APIClient, field: str, value: object
) -> None:
    body = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR", field: value}
    # Written by json itself: it also sends what a client library would refuse to.
    answer = api.post("/api/payments/", json.dumps(body), content_type="application/json")
    assert {str(name).partition(".")[0] for name in refused_fields(answer)} == {field}
    assert not Payment.objects.exists()
    assert not OutboxEvent.objects.exists()


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"sku": "", "quantity": 1, "unit_price": "12.50"}, "lines.0.sku"),
        ({"sku": "a\u0000b", "quantity": 1, "unit_price": "12.50"}, "lines.0.sku"),
        ({"sku": "a\tb", "quantity": 1, "unit_price": "12.50"}, "lines.0.sku"),
        ({"sku": "s" * 101, "quantity": 1, "unit_price": "12.50"}, "lines.0.sku"),
        ({"sku": "tea", "quantity": 0, "unit_price": "12.50"}, "lines.0.quantity"),
        ({"sku": "tea", "quantity": -1, "unit_price": "12.50"}, "lines.0.quantity"),
        ({"sku": "tea", "quantity": 1.5, "unit_price": "12.50"}, "lines.0.quantity"),
        ({"sku": "tea", "quantity": "1", "unit_price": "12.50"}, "lines.0.quantity"),
        ({"sku": "tea", "quantity": True, "unit_price": "12.50"}, "lines.0.quantity"),
        ({"sku": "tea", "quantity": 10**30, "unit_price": "12.50"}, "lines.0.quantity"),
        ({"sku": "tea", "quantity": 1, "unit_price": "12.505"}, "lines.0.unit_price"),
        ({"sku": "tea", "quantity": 1, "unit_price": 12.5}, "lines.0.unit_price"),
        ({"sku": "tea", "quantity": 1}, "lines.0.unit_price"),
        ({"sku": "tea", "quantity": 1, "unit_price": "12.50", "colour": "green"}, "lines.0.colour"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_line_is_refused_by_its_place(api: APIClient, line: dict[str, Any], field: str) -> None:
    body = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR", "lines": [line]}
    assert refused_fields(api.post("/api/payments/", body)) == {field}


def test_lines_that_do_not_add_up_are_refused_with_both_sums(api: APIClient) -> None:
    body = {
        "customer_id": "c-1",
        "amount": "12.50",
        "currency": "EUR",
        "lines": [{"sku": "tea", "quantity": 2, "unit_price": "6.00"}],
    }
    answer = api.post("/api/payments/", body)
    assert refused_fields(answer) == {"lines"}
    assert "12.00 EUR" in answer.json()["detail"]
    assert "12.50 EUR" in answer.json()["detail"]


def test_too_many_lines_are_refused(api: APIClient) -> None:
    line = {"sku": "tea", "quantity": 1, "unit_price": "0.01"}
    body = {"customer_id": "c-1", "amount": "1.01", "currency": "EUR", "lines": [line] * 101}
    assert refused_fields(api.post("/api/payments/", body)) == {"lines"}


def test_unknown_fields_are_refused_by_name_beside_the_other_errors(api: APIClient) -> None:
    body = {"customer_id": "c-1", "amount": 5, "currency": "EUR", "custmer": "x", "status": "validated"}
    answer = api.post("/api/payments/", body)
    assert refused_fields(answer) == {"amount", "custmer", "status"}
    codes = {error["field"]: error["code"] for error in answer.json()["errors"]}
    assert codes["custmer"] == codes["status"] == "unknown_field"


def test_missing_fields_are_named(api: APIClient) -> None:
    assert refused_fields(api.post("/api/payments/", {})) == {"customer_id", "amount", "currency"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"amount": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"amount": ' + b"9" * 5_000 + b"}",
        b'{"a":' * 10_000,
    ],
    ids=["empty", "cut", "nan", "not utf-8", "deep list", "long number", "deep object"],
)
def test_malformed_json_is_refused(api: APIClient, body: bytes) -> None:
    problem_of(api.post("/api/payments/", body, content_type="application/json"), 400)


@pytest.mark.parametrize("body", ["[]", "[1]", '"text"', "7", "true"])
def test_json_that_is_no_object_is_refused(api: APIClient, body: str) -> None:
    problem_of(api.post("/api/payments/", body, content_type="application/json"), 400)


def test_lone_surrogates_are_refused(api: APIClient) -> None:
    body = b'{"customer_id": "c-1", "amount": "1.00", "currency": "EUR", "metadata": {"a": "\\ud800"}}'
    assert refused_fields(api.post("/api/payments/", body, content_type="application/json")) == {"metadata.a"}


def test_a_body_that_is_too_large_is_refused(api: APIClient) -> None:
    body = json.dumps({"metadata": {"a": "x" * 300_000}})
    assert problem_of(api.post("/api/payments/", body, content_type="application/json"), 413)["code"] == (
        "body_too_large"
    )


def test_another_media_type_is_refused(api: APIClient) -> None:
    problem_of(api.post("/api/payments/", "a=b", content_type="application/x-www-form-urlencoded"), 415)


def test_a_payment_is_validated_once(api: APIClient, make_payment: MakePayment) -> None:
    made = make_payment()
    answer = api.post(f"/api/payments/{made['id']}/validate/", {"flow": "choreography"})
    assert answer.status_code == 200
    validated = answer.json()
    assert (validated["status"], validated["id"]) == ("validated", made["id"])
    assert validated["validated_at"] >= made["created_at"]
    event = OutboxEvent.objects.get(id=validated["event_id"])
    assert (event.type, event.number) == ("payments.PaymentValidated.v1", 2)

    again = problem_of(api.post(f"/api/payments/{made['id']}/validate/"), 409)
    assert again["code"] == "transition_forbidden"
    assert "is validated" in again["detail"]
    assert OutboxEvent.objects.count() == 2


def test_validating_needs_no_body(api: APIClient, make_payment: MakePayment) -> None:
    assert api.post(f"/api/payments/{make_payment()['id']}/validate/").status_code == 200


@pytest.mark.parametrize("flow", ["orchestration", "", None, 1, ["choreography"], {}])
def test_other_flows_are_refused(api: APIClient, make_payment: MakePayment, flow: object) -> None:
    made = make_payment()
    answer = api.post(f"/api/payments/{made['id']}/validate/", {"flow": flow})
    assert refused_fields(answer) == {"flow"}
    assert api.get(f"/api/payments/{made['id']}/").json()["status"] == "pending"


def test_orchestration_is_said_to_be_unavailable(api: APIClient, make_payment: MakePayment) -> None:
    answer = api.post(f"/api/payments/{make_payment()['id']}/validate/", {"flow": "orchestration"})
    assert "orchestration is not available" in answer.json()["detail"]


def test_a_payment_that_does_not_exist_is_not_found(api: APIClient) -> None:
    problem_of(api.get(f"/api/payments/{uuid4()}/"), 404)
    problem_of(api.post(f"/api/payments/{uuid4()}/validate/"), 404)


def test_lists_are_filtered(api: APIClient, make_payment: MakePayment) -> None:
    euro, yen = make_payment(), make_payment(currency="JPY", amount="5", customer_id="c-2")
    api.post(f"/api/payments/{yen['id']}/validate/")

    def ids(query: str) -> list[str]:
        return [row["id"] for row in api.get(f"/api/payments/?{query}").json()["results"]]

    assert ids("") == [yen["id"], euro["id"]]
    assert ids("status=pending") == [euro["id"]]
    assert ids("currency=JPY") == [yen["id"]]
    assert ids("customer_id=c-1") == [euro["id"]]
    assert ids("customer_id=c-1&status=validated") == []


def test_lists_come_in_pages(api: APIClient, make_payment: MakePayment) -> None:
    ids = [make_payment()["id"] for _ in range(5)][::-1]
    first = api.get("/api/payments/?page_size=2").json()
    assert [row["id"] for row in first["results"]] == ids[:2]
    # A row that comes later moves no page.
    make_payment()
    second = api.get(first["next"]).json()
    assert [row["id"] for row in second["results"]] == ids[2:4]
    third = api.get(second["next"]).json()
    assert [row["id"] for row in third["results"]] == ids[4:]
    assert third["next"] is None
    assert api.get(third["previous"]).json()["results"] == second["results"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=paid", "status"),
        ("status=", "status"),
        ("currency=XXX", "currency"),
        ("customer_id=%00", "customer_id"),
        ("custmer=c-1", "custmer"),
        ("page_size=0", "page_size"),
        ("page_size=201", "page_size"),
        ("page_size=many", "page_size"),
        ("page_size=²", "page_size"),
        ("cursor=nonsense", "cursor"),
        ("cursor=cD1ub25zZW5zZQ%3D%3D", "cursor"),
    ],
)
def test_wrong_queries_are_refused_by_name(api: APIClient, query: str, field: str) -> None:
    assert refused_fields(api.get(f"/api/payments/?{query}")) == {field}
