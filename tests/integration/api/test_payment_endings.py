"""Rejecting and refunding over REST: what is accepted, and that a refusal says why and changes nothing."""

from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from contracts.money import Money
from loyalty.services import reverse_points
from outbox import clock
from outbox.models import OutboxEvent
from payments.models import Payment
from payments.services import expire_due_payments
from tests.integration.api.answers import MakePayment, problem_of
from tests.integration.api.bad_texts import BAD_TEXTS, GOOD_TEXTS, post_raw
from tests.integration.sales import earn_points

ENDINGS = ["reject", "refund"]
AT_ONCE = 1e-6  # seconds: the shortest time that a deadline can leave


@pytest.fixture
def ready(api: APIClient, make_payment: MakePayment) -> dict[str, dict[str, Any]]:
    """For each ending a payment that can come to it."""
    pending, validated = make_payment(), make_payment()
    validated = api.post(f"/api/payments/{validated['id']}/validate/").json()
    return {"reject": pending, "refund": validated}


def rows() -> tuple[list[Any], int]:
    return list(Payment.objects.order_by("id").values()), OutboxEvent.objects.count()


@pytest.mark.parametrize(("ending", "status"), [("reject", "rejected"), ("refund", "refunded")])
def test_a_payment_ends_with_its_reason_and_its_event(
    api: APIClient, ready: dict[str, dict[str, Any]], ending: str, status: str
) -> None:
    before = ready[ending]
    answer = api.post(f"/api/payments/{before['id']}/{ending}/", {"reason": "changed my mind"})
    assert answer.status_code == 200, answer.content
    shown = answer.json()
    event = OutboxEvent.objects.get(id=shown.pop("event_id"))
    assert event.type == f"payments.Payment{status.capitalize()}.v1"
    moment = shown[f"{status}_at"]
    assert moment is not None
    before.pop("event_id")
    expected = {"status": status, f"{status}_at": moment, "cause": "command", "reason": "changed my mind"}
    assert shown == before | expected
    assert api.get(f"/api/payments/{before['id']}/").json() == shown


@pytest.mark.parametrize("name", GOOD_TEXTS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reason_is_kept_as_it_is(
    api: APIClient, ready: dict[str, dict[str, Any]], ending: str, name: str
) -> None:
    address = f"/api/payments/{ready[ending]['id']}/{ending}/"
    assert api.post(address, {"reason": GOOD_TEXTS[name]}).json()["reason"] == GOOD_TEXTS[name]
    assert api.get(f"/api/payments/{ready[ending]['id']}/").json()["reason"] == GOOD_TEXTS[name]


@pytest.mark.parametrize("name", BAD_TEXTS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_bad_body_is_refused_and_changes_nothing(
    api: APIClient, ready: dict[str, dict[str, Any]], ending: str, name: str
) -> None:
    before = rows()
    answer = post_raw(api, f"/api/payments/{ready[ending]['id']}/{ending}/", BAD_TEXTS[name])
    problem_of(answer, 400)
    assert rows() == before


@pytest.mark.parametrize(
    ("first", "then", "detail"),
    [
        ((), "refund", "is pending; only a validated payment can be refunded"),
        (("validate",), "reject", "is validated; only a pending payment can be rejected"),
        (("reject",), "validate", "is rejected; only a pending payment can be validated"),
        (("reject",), "reject", "is rejected; only a pending payment can be rejected"),
        (("reject",), "refund", "is rejected; only a validated payment can be refunded"),
        (("validate", "refund"), "refund", "is refunded; only a validated payment can be refunded"),
        (("validate", "refund"), "validate", "is refunded; only a pending payment can be validated"),
    ],
)
def test_what_the_state_forbids_is_a_conflict_and_changes_nothing(
    api: APIClient, make_payment: MakePayment, first: tuple[str, ...], then: str, detail: str
) -> None:
    address = f"/api/payments/{make_payment()['id']}"
    for command in first:
        body = {} if command == "validate" else {"reason": "so"}
        assert api.post(f"{address}/{command}/", body).status_code == 200
    before = rows()
    answer = api.post(f"{address}/{then}/", {} if then == "validate" else {"reason": "so"})
    problem = problem_of(answer, 409)
    assert problem["code"] == "transition_forbidden"
    assert detail in problem["detail"]
    assert rows() == before


def test_from_its_deadline_on_a_payment_cannot_be_validated(
    api: APIClient, make_payment: MakePayment, settings: Settings
) -> None:
    settings.PAYMENTS_EXPIRE_AFTER = AT_ONCE
    made = make_payment()
    address = f"/api/payments/{made['id']}/"
    problem = problem_of(api.post(f"{address}validate/"), 409)
    assert problem["code"] == "payment_expired"
    assert "it cannot be validated any more" in problem["detail"]
    assert api.get(address).json()["status"] == "pending"
    assert expire_due_payments(at=clock.now(), limit=10) == 1
    shown = api.get(address).json()
    assert (shown["status"], shown["cause"], shown["reason"]) == ("rejected", "expiry", None)
    assert problem_of(api.post(f"{address}validate/"), 409)["code"] == "transition_forbidden"


def test_its_merchant_may_still_say_why_it_came_to_nothing(
    api: APIClient, make_payment: MakePayment, settings: Settings
) -> None:
    settings.PAYMENTS_EXPIRE_AFTER = AT_ONCE
    made = make_payment()
    shown = api.post(f"/api/payments/{made['id']}/reject/", {"reason": "never came back"}).json()
    assert (shown["status"], shown["cause"], shown["reason"]) == ("rejected", "command", "never came back")
    assert expire_due_payments(at=clock.now(), limit=10) == 0


@pytest.mark.parametrize("ending", ENDINGS)
def test_merchants_act_on_their_own_and_operators_on_all(
    api: APIClient,
    other_api: APIClient,
    viewer_api: APIClient,
    staff_api: APIClient,
    operator_api: APIClient,
    ready: dict[str, dict[str, Any]],
    ending: str,
) -> None:
    address = f"/api/payments/{ready[ending]['id']}/{ending}/"
    before = rows()
    problem_of(other_api.post(address, {"reason": "so"}), 404)
    problem_of(viewer_api.post(address, {"reason": "so"}), 403)
    problem_of(staff_api.post(address, {"reason": "so"}), 403)
    problem_of(api.post(f"/api/payments/{uuid4()}/{ending}/", {"reason": "so"}), 404)
    assert rows() == before
    assert operator_api.post(address, {"reason": "so"}).status_code == 200


def test_a_reversal_is_shown_beside_what_was_earned(api: APIClient, merchant: User) -> None:
    whose: dict[str, Any] = {"payment_id": uuid4(), "merchant_id": merchant.id, "at": clock.now()}
    earn_points(**whose, customer_id="c-1", money=Money.parse("12.50", "EUR"), points_per_unit=1)
    reverse_points(**whose)
    shown = api.get("/api/loyalty/accounts/c-1/").json()
    entries = {(entry["reason"], entry["points"], entry["payment_id"]) for entry in shown["entries"]}
    payment_id = str(whose["payment_id"])
    assert (shown["balance"], entries) == (0, {("earned", 12, payment_id), ("reversed", -12, payment_id)})


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_command_sent_again_under_its_key_is_carried_out_once(
    api: APIClient, ready: dict[str, dict[str, Any]], ending: str
) -> None:
    address = f"/api/payments/{ready[ending]['id']}/{ending}/"
    answers = [api.post(address, {"reason": "so"}, HTTP_IDEMPOTENCY_KEY="k-1") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].content == answers[1].content == answers[2].content
    assert OutboxEvent.objects.filter(key=ready[ending]["id"]).count() == (2 if ending == "reject" else 3)
