"""Dead letters and parked keys over REST: operators act, each act once, and written down."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from contracts.errors import MoneyError
from orders.models import Order
from outbox import registry
from outbox.models import DeadLetter, InboxEntry, KeyProgress, OutboxEvent, ParkedKey, WaitingEvent
from outbox.processor import Processor
from outbox.registry import get_consumer
from outbox.repair.acts import Act
from tests.integration.api.answers import MakePayment, problem_of, refused_fields
from tests.integration.compensation.world import as_record

LETTERS = "/api/dead-letters/"
KEYS = "/api/parked-keys/"
SCRIPT = "<script>owned=1</script>"


@pytest.fixture
def letter(api: APIClient, make_payment: MakePayment) -> DeadLetter:
    """A validation that orders could not process, and a refund of the same payment that waits behind it."""
    made = make_payment()
    api.post(f"/api/payments/{made['id']}/validate/")
    api.post(f"/api/payments/{made['id']}/refund/", {"reason": "wrong size"})
    consumer = get_consumer("orders")
    bad, waits = OutboxEvent.objects.filter(type__in=consumer.routes).order_by("position")
    processor = Processor(consumer)
    condemned = as_record(bad)
    processor.condemn(MoneyError(SCRIPT), attempts=1, record=condemned)
    processor.run([condemned, as_record(waits)])
    return DeadLetter.objects.get()


def act(client: APIClient, letter: DeadLetter, verb: str, body: Any = None, **headers: str) -> Any:
    return client.post(f"{LETTERS}{letter.id}/{verb}/", body, headers=headers)


def test_an_operator_sees_what_died_and_why(operator_api: APIClient, letter: DeadLetter) -> None:
    (row,) = operator_api.get(LETTERS).json()["results"]
    assert (row["id"], row["consumer"], row["cause"], row["state"]) == (
        str(letter.id),
        "orders",
        "MoneyError",
        "open",
    )
    detail = operator_api.get(f"{LETTERS}{letter.id}/")
    assert detail["Content-Type"] == "application/json"
    told = detail.json()
    assert (told["error"], told["waiting"], told["acts"]) == (SCRIPT, 1, [])
    assert told["data"]["amount_minor"] == 1250
    assert {"name": "ce_type", "value": "payments.PaymentValidated.v1"} in told["headers"]
    (key,) = operator_api.get(KEYS).json()["results"]
    assert (key["key"], key["cause"], key["waiting"]) == (letter.key, "dead_letter", 1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("consumer=orders", 1),
        ("consumer=loyalty", 0),
        ("cause=MoneyError", 1),
        ("type=payments.PaymentValidated.v1", 1),
        ("topic=payments", 1),
        ("state=open", 1),
        ("state=discarded", 0),
        (f"event_id={UUID(int=7)}", 0),
    ],
)
def test_dead_letters_are_found(operator_api: APIClient, letter: DeadLetter, query: str, found: int) -> None:
    assert len(operator_api.get(f"{LETTERS}?{query}").json()["results"]) == found


def test_a_filter_that_there_is_not_is_refused(operator_api: APIClient) -> None:
    assert refused_fields(operator_api.get(f"{LETTERS}?consumr=orders")) == {"consumr"}
    assert refused_fields(operator_api.get(f"{LETTERS}?state=lost")) == {"state"}


def test_a_replay_processes_it_and_what_waits(operator_api: APIClient, letter: DeadLetter) -> None:
    answer = act(operator_api, letter, "replay")
    assert answer.status_code == 200
    assert answer.json() == {
        "result": "replayed",
        "detail": "It has been processed; 1 that waited ran.",
        "ran": 1,
        "waiting": 0,
        "waiting_more": False,
        "error": "",
    }
    order = Order.objects.get()
    assert (str(order.payment_id), order.status) == (letter.key, "cancelled")
    assert operator_api.get(LETTERS).json()["results"] == []
    assert operator_api.get(KEYS).json()["results"] == []
    assert len(operator_api.get(f"{LETTERS}?state=replayed").json()["results"]) == 1
    (told,) = operator_api.get(f"{LETTERS}{letter.id}/").json()["acts"]
    assert (told["who"], told["via"], told["act"], told["result"]) == (
        "operator",
        "rest",
        "replay",
        "replayed",
    )
    again = act(operator_api, letter, "replay").json()
    assert (again["result"], Order.objects.count()) == ("nothing", 1)


def test_a_dry_run_says_what_would_come_of_it_and_takes_it_back(
    operator_api: APIClient, letter: DeadLetter
) -> None:
    tried = act(operator_api, letter, "replay", {"dry_run": True})
    assert tried.json()["detail"] == "It has been processed; 1 that waited ran."
    assert operator_api.get(f"{LETTERS}{letter.id}/").json()["acts"] == []
    assert len(operator_api.get(LETTERS).json()["results"]) == 1
    assert not Order.objects.exists()
    assert act(operator_api, letter, "replay", {"reason": "the rates are right"}).json()["ran"] == 1
    (told,) = operator_api.get(f"{LETTERS}{letter.id}/").json()["acts"]
    assert told["why"] == "the rates are right"


def test_one_key_is_one_replay(operator_api: APIClient, letter: DeadLetter) -> None:
    first = act(operator_api, letter, "replay", **{"Idempotency-Key": "k-1"})
    second = act(operator_api, letter, "replay", **{"Idempotency-Key": "k-1"})
    assert first.content == second.content
    assert second["Idempotent-Replayed"] == "true"
    assert Act.objects.count() == 1
    other = act(operator_api, letter, "replay", {"data": {}}, **{"Idempotency-Key": "k-1"})
    assert problem_of(other, 422)["code"] == "idempotency_key_reused"


def test_what_fails_under_a_key_is_kept_as_it_died(
    operator_api: APIClient, letter: DeadLetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler's failure is rolled back, its cause is kept, in one transaction with the answer."""
    route = get_consumer("orders").routes[letter.type]

    def fail(_: Any) -> None:
        raise MoneyError("still not")

    monkeypatch.setitem(
        get_consumer("orders").routes, letter.type, registry.Route(route.event, fail, batched=False)
    )
    for _ in range(2):
        answer = act(operator_api, letter, "replay", **{"Idempotency-Key": "k-2"})
        assert answer.json()["result"] == "died"
        assert answer.json()["error"] == "MoneyError: still not"
    letter.refresh_from_db()
    assert (letter.state, letter.error) == ("open", "still not")
    assert Act.objects.count() == 1
    assert ParkedKey.objects.count() == 1


def test_corrected_data_is_checked_against_the_contract(operator_api: APIClient, letter: DeadLetter) -> None:
    data = json.loads(bytes(letter.payload or b""))
    all_wrong: list[Any] = [{}, [], 7, "x", {**data, "amount_minor": "many"}]
    for wrong in all_wrong:
        refused = problem_of(act(operator_api, letter, "replay", {"data": wrong}), 400)
        assert refused["errors"][0]["code"] == "contract_violation"
    # A misspelt correction is not an uncorrected replay.
    assert refused_fields(act(operator_api, letter, "replay", {"dta": data})) == {"dta"}
    assert not Act.objects.exists()
    answer = act(operator_api, letter, "replay", {"data": {**data, "customer_id": "c-corrected"}})
    assert answer.json()["result"] == "replayed"
    assert Order.objects.get().customer_id == "c-corrected"
    told = operator_api.get(f"{LETTERS}{letter.id}/").json()
    assert (told["data"]["customer_id"], told["correction"]["customer_id"]) == ("c-1", "c-corrected")


def test_a_discard_needs_a_reason_and_lets_the_key_go_on(operator_api: APIClient, letter: DeadLetter) -> None:
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": 7}, {"reason": "a\u0000"}):
        assert refused_fields(act(operator_api, letter, "discard", body)) == {"reason"}
    assert act(operator_api, letter, "discard", {"reason": "a test"}).json()["result"] == "discarded"
    assert not ParkedKey.objects.exists()
    assert dict(InboxEntry.objects.values_list("outcome", "number")) == {"discarded": 2, "processed": 3}
    assert Act.objects.get().why == "a test"


def test_a_parked_key_is_released(operator_api: APIClient, letter: DeadLetter) -> None:
    (key,) = operator_api.get(KEYS).json()["results"]
    address = f"{KEYS}{key['id']}/release/"
    refused = problem_of(operator_api.post(address, {"reason": "gone"}), 409)
    assert str(letter.id) in refused["detail"]
    ParkedKey.objects.update(cause="gap", event_id=uuid4())
    assert refused_fields(operator_api.post(address, {})) == {"reason"}
    answer = operator_api.post(address, {"reason": "gone"}).json()
    assert (answer["result"], answer["waiting"], answer["waiting_more"]) == ("released", 0, False)
    problem_of(operator_api.post(address, {"reason": "gone"}), 404)


def test_a_key_is_released_without_the_numbers_that_were_shown(
    operator_api: APIClient, letter: DeadLetter
) -> None:
    ParkedKey.objects.update(cause="gap", event_id=uuid4())
    WaitingEvent.objects.update(number=6)
    KeyProgress.objects.update(number=3)
    (key,) = operator_api.get(KEYS).json()["results"]
    assert (key["missing"], key["waiting"], key["waiting_more"]) == ({"first": 4, "last": 5}, 1, False)
    address = f"{KEYS}{key['id']}/release/"
    KeyProgress.objects.update(number=4)
    for shown in (key["missing"], None):
        refused = problem_of(operator_api.post(address, {"reason": "gone", "missing": shown}), 409)
        assert "waits for number 5 by now" in refused["detail"]
    assert refused_fields(operator_api.post(address, {"reason": "r", "missing": {"first": 0}})) == {
        "missing.first",
        "missing.last",
    }
    assert not Act.objects.exists()
    (key,) = operator_api.get(KEYS).json()["results"]
    answer = operator_api.post(address, {"reason": "gone", "missing": key["missing"]}).json()
    assert "without number 5" in answer["detail"]


def test_of_long_queues_no_more_is_counted_than_is_said(
    operator_api: APIClient, letter: DeadLetter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.repair.behind.MOST_WAITING", 2)
    row = WaitingEvent.objects.get()
    for _ in range(4):
        row.pk, row.event_id = None, uuid4()
        row.save(force_insert=True)
    (key,) = operator_api.get(KEYS).json()["results"]
    detail = operator_api.get(f"{LETTERS}{letter.id}/").json()
    ParkedKey.objects.update(cause="gap", event_id=uuid4())
    WaitingEvent.objects.update(number=9)
    KeyProgress.objects.update(number=9)
    again = act(operator_api, letter, "replay").json()
    assert again["detail"].endswith("at least 2 still wait.")
    for told in (key, detail, again):
        assert (told["waiting"], told["waiting_more"]) == (2, True)


def test_what_is_not_there_is_not_found(operator_api: APIClient) -> None:
    nowhere = DeadLetter(id=uuid4())
    problem_of(operator_api.get(f"{LETTERS}{nowhere.id}/"), 404)
    problem_of(act(operator_api, nowhere, "replay"), 404)
    problem_of(act(operator_api, nowhere, "discard", {"reason": "r"}), 404)
    problem_of(operator_api.post(f"{KEYS}{UUID(int=1)}/release/", {"reason": "r"}), 404)


def test_what_a_rebuild_has_replaced_is_refused(operator_api: APIClient, letter: DeadLetter) -> None:
    DeadLetter.objects.update(generation=3)
    assert "generation 3" in problem_of(act(operator_api, letter, "replay"), 409)["detail"]
    DeadLetter.objects.update(generation=1, consumer="gone")
    assert "'gone'" in problem_of(act(operator_api, letter, "replay"), 409)["detail"]


@pytest.mark.parametrize("who", ["staff_api", "viewer_api"])
def test_whoever_sees_all_may_look_and_not_act(
    request: pytest.FixtureRequest, who: str, letter: DeadLetter
) -> None:
    client = request.getfixturevalue(who)
    assert len(client.get(LETTERS).json()["results"]) == 1
    for verb, body in (("replay", {}), ("discard", {"reason": "r"})):
        problem_of(act(client, letter, verb, body), 403)
    problem_of(client.post(f"{KEYS}{ParkedKey.objects.get().id}/release/", {"reason": "r"}), 403)
    assert not Act.objects.exists()


@pytest.mark.parametrize("who", ["api", "other_api", "nobodys_api"])
def test_nobody_else_sees_any_of_it(
    request: pytest.FixtureRequest, who: str, letter: DeadLetter, merchant: User
) -> None:
    client = request.getfixturevalue(who)
    for address in (LETTERS, f"{LETTERS}{letter.id}/", KEYS):
        problem_of(client.get(address), 403)
    problem_of(act(client, letter, "replay"), 403)
    assert not Act.objects.exists()
