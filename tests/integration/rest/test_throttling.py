"""Budgets: so much at once, then so much a second, for all processes together."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.db import OperationalError, connection, connections
from django.test import Client, RequestFactory
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import ensure_token, ensure_user
from rest import signing_in
from rest.models import SpentBudget
from rest.tasks import prune_budgets
from rest.throttling import Budget, address_of
from tests.integration.api.answers import problem_of

SLOW = Budget(kind="test", per_second=0.01, burst=5)


@pytest.fixture
def merchant(db: None) -> User:
    return ensure_user(username="first", password="a-good-password", groups=["merchant"])


@pytest.fixture
def api(merchant: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {ensure_token(user=merchant)}")
    return client


@pytest.fixture
def narrow(settings: Settings) -> None:
    settings.API_RATE_PER_SECOND, settings.API_BURST = 0.1, 3


def age(seconds: float) -> None:
    """As if everything had been spent so much earlier."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rest_budget SET full_at = full_at - make_interval(secs => %s)", [seconds])


@pytest.mark.django_db
def test_a_burst_is_granted_and_refills_one_by_one() -> None:
    assert [SLOW.spend("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert SLOW.wait == 100
    age(100)
    assert [SLOW.spend("a") for _ in range(2)] == [True, False]
    age(10_000)
    assert [SLOW.spend("a") for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.django_db
def test_what_is_given_back_may_be_spent_again() -> None:
    assert all(SLOW.spend("a") for _ in range(5))
    SLOW.give_back("a")
    assert [SLOW.spend("a") for _ in range(2)] == [True, False]


@pytest.mark.django_db
def test_everyone_has_a_budget_of_its_own() -> None:
    other = Budget(kind="other", per_second=0.01, burst=5)
    assert all(SLOW.spend("a") for _ in range(5))
    assert SLOW.spend("b")
    assert other.spend("a")
    assert not SLOW.spend("a")


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_no_more_than_the_burst_are_granted() -> None:
    barrier = threading.Barrier(12)

    def spend(_: int) -> int:
        try:
            barrier.wait(20)
            return sum(SLOW.spend("a") for _ in range(5))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(spend, range(12))) == 5


@pytest.mark.django_db
def test_spending_waits_for_no_disk() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence, reloptions FROM pg_class WHERE relname = 'rest_budget'")
        assert cursor.fetchone() == ("u", ["fillfactor=50"])


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("path", ["/api/payments/", "/api/events/", "/api/orders/", "/api/schema/"])
def test_a_budget_that_is_spent_is_429(api: APIClient, path: str) -> None:
    for _ in range(3):
        assert api.get("/api/payments/").status_code == 200
    answer = api.get(path)
    assert problem_of(answer, 429)["code"] == "throttled"
    assert answer["Retry-After"] == "10"
    age(10)
    assert api.get(path).status_code == 200


@pytest.mark.usefixtures("narrow", "db")
def test_who_is_not_signed_in_spends_for_the_address(api: APIClient) -> None:
    nobody = APIClient()
    assert [nobody.get("/api/schema/").status_code for _ in range(4)] == [200] * 3 + [429]
    assert nobody.get("/api/schema/", REMOTE_ADDR="10.0.0.1").status_code == 200
    assert nobody.get("/api/schema/", HTTP_X_FORWARDED_FOR="10.9.9.9").status_code == 429
    assert api.get("/api/schema/").status_code == 200


@pytest.mark.usefixtures("narrow", "db")
def test_refusals_are_paid_for_like_answers() -> None:
    viewer = APIClient()
    user = ensure_user(username="viewer", password=None, groups=["viewer"])
    viewer.credentials(HTTP_AUTHORIZATION=f"Token {ensure_token(user=user)}")
    answers = [viewer.post("/api/payments/", {}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [403] * 3 + [429] * 2
    assert problem_of(answers[-1], 429)["code"] == "throttled"
    assert answers[-1]["Retry-After"] == "10"


@pytest.mark.usefixtures("narrow", "db")
@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Token {'0' * 40}"}, {"Authorization": "Token"}])
def test_who_is_not_signed_in_pays_for_being_told_so(headers: dict[str, str]) -> None:
    nobody = APIClient()
    answers = [nobody.get("/api/payments/", headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    assert nobody.get("/api/payments/", headers=headers, REMOTE_ADDR="10.0.0.1").status_code == 401


@pytest.mark.django_db
def test_while_the_database_is_away_a_refusal_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Budget, __: str) -> bool:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(Budget, "spend", away)
    problem_of(APIClient(raise_request_exception=False).get("/api/payments/"), 503)


@pytest.mark.usefixtures("narrow", "db")
def test_health_is_told_at_any_time() -> None:
    assert {APIClient().get("/healthz").status_code for _ in range(6)} == {200}


def test_a_refused_command_may_be_sent_again_under_its_key(api: APIClient, settings: Settings) -> None:
    body = {"customer_id": "c-1", "amount": "1.00", "currency": "EUR"}
    settings.API_RATE_PER_SECOND, settings.API_BURST = 0.1, 1
    api.get("/api/payments/")
    problem_of(api.post("/api/payments/", body, HTTP_IDEMPOTENCY_KEY="k"), 429)
    age(10)
    assert api.post("/api/payments/", body, HTTP_IDEMPOTENCY_KEY="k").status_code == 201


@pytest.mark.parametrize(
    ("address", "spender"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_an_address_is_what_one_host_cannot_change(address: str, spender: str) -> None:
    assert address_of(RequestFactory().get("/", REMOTE_ADDR=address)) == spender


@pytest.fixture
def few_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    few: dict[str, Any] = {"per_second": 0.01, "burst": 3}
    monkeypatch.setattr(signing_in, "WRONG_PASSWORDS", Budget(kind="password", **few))


@pytest.mark.usefixtures("few_guesses")
@pytest.mark.parametrize("page", ["/login/", "/admin/login/"])
def test_after_wrong_passwords_the_right_one_is_not_heard_either(merchant: User, page: str) -> None:
    client = Client()
    good = {"username": "first", "password": "a-good-password"}
    for guess in range(3):
        client.post(page, good | {"password": f"guess-{guess}"})
    assert b"Too many wrong passwords" in client.post(page, good).content
    assert "_auth_user_id" not in client.session
    age(100)
    assert b"Too many wrong passwords" not in client.post(page, good).content


@pytest.mark.usefixtures("few_guesses")
def test_right_passwords_cost_nothing(merchant: User) -> None:
    good = {"username": "first", "password": "a-good-password"}
    assert {Client().post("/login/", good).status_code for _ in range(6)} == {302}


@pytest.mark.usefixtures("few_guesses")
@pytest.mark.django_db(transaction=True)
def test_of_many_guesses_at_once_no_more_are_tried_than_one_after_another(
    merchant: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    authenticate = ModelBackend.authenticate

    def noted(self: ModelBackend, request: Any, username: Any = None, password: Any = None, **kw: Any) -> Any:
        tried.append(password)
        return authenticate(self, request, username, password, **kw)

    monkeypatch.setattr(ModelBackend, "authenticate", noted)
    barrier = threading.Barrier(12)

    def guess(number: int) -> bool:
        try:
            barrier.wait(20)
            answer = Client().post("/login/", {"username": "first", "password": f"guess-{number}"})
            return b"Too many wrong passwords" in answer.content
        finally:
            connections.close_all()

    with ThreadPoolExecutor(12) as threads:
        refused = list(threads.map(guess, range(12)))
    assert (len(tried), sum(refused)) == (3, 9)


@pytest.mark.django_db
def test_full_budgets_are_pruned() -> None:
    SLOW.spend("old")
    age(1_000)
    SLOW.spend("new")
    prune_budgets()
    assert [row.spender for row in SpentBudget.objects.all()] == ["test:new"]
