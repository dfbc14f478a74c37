"""What operators ask for in merchants' names is in the audit log, once; merchants' own commands are not."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from rest_framework.test import APIClient

from accounts.models import User
from outbox.models import OutboxEvent
from outbox.repair.acts import Act
from payments.services import validate_payment
from tests.integration.api.answers import MakePayment, problem_of
from tests.integration.api.test_order_commands import ADDRESS, make_order

AMOUNT = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR"}
REASON = {"reason": "the customer has called"}
Asked = tuple[str, str, dict[str, Any]]


@pytest.fixture
def asked(merchant: User, make_payment: MakePayment) -> Callable[[str], Asked]:
    """How a command on something of the merchant's is asked for: method, address and body."""

    def of(command: str) -> Asked:
        if command == "request":
            return "post", "/api/payments/", {**AMOUNT, "merchant": str(merchant.id)}
        if command in {"modify", "cancel"}:
            order = f"/api/orders/{make_order(merchant)}/"
            return (
                ("patch", order, {"shipping_address": ADDRESS})
                if command == "modify"
                else ("post", f"{order}cancel/", REASON)
            )
        payment = make_payment()["id"]
        if command == "refund":
            validate_payment(payment_id=payment, merchant_id=merchant.id)
        return "post", f"/api/payments/{payment}/{command}/", {} if command == "validate" else REASON

    return of


COMMANDS = ("request", "validate", "reject", "refund", "modify", "cancel")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_operators_command_is_written_down_once(
    operator_api: APIClient, asked: Callable[[str], Asked], command: str
) -> None:
    method, address, body = asked(command)
    send, key = getattr(operator_api, method), {"Idempotency-Key": str(uuid4())}
    first, again = (send(address, body, headers=key) for _ in range(2))
    assert first.status_code in {200, 201}, first.content
    assert (again.content, again["Idempotent-Replayed"]) == (first.content, "true")
    act, event = Act.objects.get(), OutboxEvent.objects.get(id=first.json()["event_id"])
    assert (act.who, act.via, act.act, act.result) == ("operator", "rest", command, "done")
    assert act.why == body.get("reason", "")
    assert (act.event_id, act.topic, act.key) == (event.id, event.topic, event.key)
    assert event.type in act.detail
    if command != "request":  # without a key it is asked for anew, and changes nothing
        assert send(address, body).status_code == (200 if command == "modify" else 409)
    assert Act.objects.count() == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_merchants_own_command_is_not(
    api: APIClient, merchant: User, asked: Callable[[str], Asked], command: str
) -> None:
    method, address, body = asked(command)
    merchant.groups.add(Group.objects.get_or_create(name="operator")[0])  # it may act for others, too
    assert getattr(api, method)(address, body).status_code in {200, 201}
    assert not Act.objects.exists()


def test_what_is_refused_is_not(operator_api: APIClient, asked: Callable[[str], Asked]) -> None:
    _, address, _ = asked("refund")
    for _ in range(2):
        operator_api.post(address, {"reason": "\x00"})
        problem_of(operator_api.post(address.replace("refund", "reject"), REASON), 409)
    assert not Act.objects.exists()
