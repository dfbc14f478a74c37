"""Operators pause and resume consumers over REST; nobody else does."""

import pytest
from rest_framework.test import APIClient

from outbox import pausing
from outbox.registry import get_consumer
from tests.integration.api.answers import problem_of

pytestmark = pytest.mark.django_db

PAUSE, RESUME = "/api/consumers/orders/pause/", "/api/consumers/orders/resume/"


def test_an_operator_pauses_and_resumes(operator_api: APIClient) -> None:
    answer = operator_api.post(PAUSE, {"reason": "a look at the data"})
    assert answer.status_code == 200
    said = answer.json()
    assert (said["name"], said["paused"], said["reason"]) == ("orders", True, "a look at the data")
    pause = pausing.pause_of(get_consumer("orders"))
    assert pause is not None
    assert (pause.reason, pause.by) == ("a look at the data", said["paused_by"])
    assert operator_api.post(PAUSE).json() == said  # it is paused already: by whom and why stays
    answer = operator_api.post(RESUME)
    assert answer.json() == {
        "name": "orders",
        "paused": False,
        "paused_at": None,
        "paused_by": "",
        "reason": "",
    }
    assert pausing.pause_of(get_consumer("orders")) is None
    assert operator_api.post(RESUME).status_code == 200


def test_the_pause_that_is_named_is_lifted_and_no_other(operator_api: APIClient) -> None:
    shown = {"paused_at": operator_api.post(PAUSE, {"reason": "one"}).json()["paused_at"]}
    operator_api.post(RESUME)
    now = operator_api.post(PAUSE, {"reason": "another"}).json()
    refused = problem_of(operator_api.post(RESUME, shown), 409)
    assert "another. That is not what was shown" in refused["detail"]
    assert operator_api.post(PAUSE).json() == now
    assert operator_api.post(RESUME, {"paused_at": now["paused_at"]}).json()["paused"] is False


def test_the_same_command_again_is_carried_out_once(operator_api: APIClient) -> None:
    first = operator_api.post(PAUSE, {"reason": "one"}, HTTP_IDEMPOTENCY_KEY="k-1")
    operator_api.post(RESUME)
    again = operator_api.post(PAUSE, {"reason": "one"}, HTTP_IDEMPOTENCY_KEY="k-1")
    assert again.content == first.content
    assert pausing.pause_of(get_consumer("orders")) is None
    problem_of(operator_api.post(PAUSE, {"reason": "two"}, HTTP_IDEMPOTENCY_KEY="k-1"), 422)


@pytest.mark.parametrize("address", [PAUSE, RESUME])
def test_nobody_else_may(api: APIClient, viewer_api: APIClient, anonymous: APIClient, address: str) -> None:
    problem_of(anonymous.post(address), 401)
    for client in (api, viewer_api):
        problem_of(client.post(address), 403)
    assert pausing.pause_of(get_consumer("orders")) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": 7}, "reason"),
        ({"reason": "x" * 1_001}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"why": ""}, "why"),
    ],
)
def test_what_is_no_reason_is_refused(operator_api: APIClient, body: dict[str, object], field: str) -> None:
    problem = problem_of(operator_api.post(PAUSE, body), 400)
    assert [error["field"] for error in problem["errors"]] == [field]
    problem_of(operator_api.post(PAUSE, ["reason"]), 400)


def test_a_consumer_that_does_not_exist_is_not_found(operator_api: APIClient) -> None:
    assert (
        "analytics, loyalty, orders"
        in problem_of(operator_api.post("/api/consumers/nobody/pause/"), 404)["detail"]
    )
