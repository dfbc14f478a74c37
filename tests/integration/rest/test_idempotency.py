"""One key, one command: whoever asks again, and however many at once, gets the first answer."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction
from rest_framework.exceptions import PermissionDenied
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import ensure_token, ensure_user
from outbox import wake
from outbox.models import OutboxEvent
from payments import services
from payments.models import Payment
from rest import idempotency
from rest.idempotency import prune
from rest.models import KeptAnswer
from rest.tasks import prune_kept_answers
from tests.engine import until
from tests.integration.api.answers import problem_of

BODY = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR", "metadata": {"a": "1", "b": "ü"}}


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {ensure_token(user=user)}")
    return client


@pytest.fixture
def merchant(db: None) -> User:
    return ensure_user(username="first", password=None, groups=["merchant"])


@pytest.fixture
def api(merchant: User) -> APIClient:
    return client_of(merchant)


def ask(api: APIClient, key: str, body: Any = BODY, path: str = "/api/payments/", **extra: Any) -> Any:
    return api.post(path, body, HTTP_IDEMPOTENCY_KEY=key, **extra)


def test_the_same_request_again_is_answered_the_same_again(api: APIClient) -> None:
    first, again = ask(api, "k"), ask(api, "k")
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first["Content-Type"] == again["Content-Type"] == "application/json"
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert Payment.objects.count() == OutboxEvent.objects.count() == 1


def test_without_a_key_every_request_is_a_new_one(api: APIClient) -> None:
    assert api.post("/api/payments/", BODY).json()["id"] != api.post("/api/payments/", BODY).json()["id"]
    assert not KeptAnswer.objects.exists()


def test_the_same_means_the_same_json(api: APIClient) -> None:
    first = ask(api, "k")
    text = '{ "currency":"EUR", "amount" : "12.50","metadata":{"b":"\\u00fc","a":"1"},\n "customer_id":"c-1"}'
    again = ask(api, "k", text, content_type="application/json")
    assert again.content == first.content


def test_another_request_under_the_same_key_is_refused(api: APIClient) -> None:
    made = ask(api, "k").json()
    for body, path in [
        (BODY | {"amount": "12.51"}, "/api/payments/"),
        (BODY | {"amount": 12.50}, "/api/payments/"),
        (BODY, f"/api/payments/{made['id']}/validate/"),
        ({}, f"/api/payments/{made['id']}/validate/"),
    ]:
        assert problem_of(ask(api, "k", body, path), 422)["code"] == "idempotency_key_reused"
    assert Payment.objects.get().status == "pending"


def test_a_key_belongs_to_its_user(api: APIClient) -> None:
    other = client_of(ensure_user(username="second", password=None, groups=["merchant"]))
    assert ask(api, "k").json()["id"] != ask(other, "k").json()["id"]


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "k\t", "k" * 256, "\x7f"])
def test_a_key_that_is_none_is_refused(api: APIClient, key: str) -> None:
    errors = problem_of(ask(api, key), 400)["errors"]
    assert [(error["field"], error["code"]) for error in errors] == [
        ("Idempotency-Key", "invalid_idempotency_key")
    ]
    assert not Payment.objects.exists()


def test_the_longest_key_is_taken(api: APIClient) -> None:
    assert ask(api, "~" * 255).content == ask(api, "~" * 255).content


def test_a_refusal_is_kept(api: APIClient) -> None:
    first = ask(api, "k", BODY | {"amount": "12.505"})
    again = ask(api, "k", BODY | {"amount": "12.505"})
    assert problem_of(again, 400) == problem_of(first, 400)
    assert again["Idempotent-Replayed"] == "true"
    made = ask(api, "make").json()
    validate = f"/api/payments/{made['id']}/validate/"
    good = ask(api, "v", {}, validate)
    conflict = ask(api, "w", {}, validate)
    assert problem_of(conflict, 409)["code"] == "transition_forbidden"
    assert ask(api, "w", {}, validate).content == conflict.content
    # The state has moved on; the answer of then has not.
    assert ask(api, "v", {}, validate).content == good.content
    missing = f"/api/payments/{uuid4()}/validate/"
    assert ask(api, "m", {}, missing).content == ask(api, "m", {}, missing).content


def test_what_may_go_well_another_time_is_not_kept(
    api: APIClient, merchant: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant.groups.clear()
    problem_of(ask(api, "k"), 403)
    problem_of(ask(APIClient(), "k"), 401)
    problem_of(ask(api, "k", "<x/>", content_type="application/xml"), 403)
    ensure_user(username="first", password=None, groups=["merchant"])
    with monkeypatch.context() as patched:
        patched.setattr("payments.api.services.request_payment", _refuse_for_now)
        problem_of(ask(api, "k"), 403)
    problem_of(ask(api, "k", "<x/>", content_type="application/xml"), 415)
    problem_of(ask(api, "k", "{", content_type="application/json"), 400)
    problem_of(ask(api, "k", '"' + "a" * 300_000 + '"', content_type="application/json"), 413)
    assert not KeptAnswer.objects.exists()
    assert ask(api, "k").status_code == 201


def _refuse_for_now(**_: Any) -> None:
    raise PermissionDenied("Not in this moment.")


@pytest.mark.django_db(transaction=True)
def test_a_command_that_fails_in_the_middle_leaves_nothing_and_may_be_sent_again(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**given: Any) -> Any:
        services.request_payment(**given)
        raise RuntimeError("after the change, before the answer")

    api.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr("payments.api.services.request_payment", _around(fail))
        problem_of(ask(api, "k"), 500)
    assert not Payment.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert not KeptAnswer.objects.exists()
    first = ask(api, "k")
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first


_request_payment = services.request_payment


def _around(replacement: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement, in which the service is the original again."""

    def call(**given: Any) -> Any:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(services, "request_payment", _request_payment)
            return replacement(**given)

    return call


@pytest.mark.django_db(transaction=True)
def test_a_refusal_keeps_its_answer_and_none_of_its_changes(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from payments.errors import LinesDoNotAddUp

    def refuse(**given: Any) -> Any:
        services.request_payment(**given)
        raise LinesDoNotAddUp()

    monkeypatch.setattr("payments.api.services.request_payment", _around(refuse))
    first = ask(api, "k")
    problem_of(first, 400)
    assert not Payment.objects.exists()
    assert not OutboxEvent.objects.exists()
    assert ask(api, "k").content == first.content


@pytest.mark.django_db(transaction=True)
def test_relays_are_woken_once_the_claim_is_committed(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(wake, "wake", lambda using: woken.append(connections[using].in_atomic_block))
    ask(api, "k")
    assert woken == [False]
    ask(api, "k")
    assert woken == [False]


@pytest.mark.parametrize("depth", [10, *range(850, 1_010, 5), 3_000, 30_000, 100_000])
def test_a_body_of_any_depth_is_answered(api: APIClient, depth: int) -> None:
    problem_of(ask(api, "k", "[" * depth + "]" * depth, content_type="application/json"), 400)


def test_headers_of_the_answer_are_kept(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from payments import api as payments_api

    plain = payments_api._answer

    def with_location(*given: Any, **named: Any) -> Any:
        response = plain(*given, **named)
        response["Location"] = "/api/payments/1/"
        return response

    monkeypatch.setattr(payments_api, "_answer", with_location)
    assert ask(api, "k")["Location"] == ask(api, "k")["Location"] == "/api/payments/1/"


def test_the_command_waits_for_locks_as_long_as_without_a_key(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(**given: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            seen.append(cursor.fetchone()[0])
        return services.request_payment(**given)

    monkeypatch.setattr("payments.api.services.request_payment", _around(look))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '7s'")
    ask(api, "k")
    assert seen == ["7s"]


def in_parallel(work: Callable[[int], Any], *, times: int) -> list[Any]:
    """What `times` threads answer, each on a connection of its own, that begin at the same moment."""
    barrier = threading.Barrier(times)

    def one(number: int) -> Any:
        try:
            barrier.wait(20)
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(one, range(times)))


@pytest.mark.django_db(transaction=True)
def test_twins_at_the_same_moment_are_one_command(merchant: User) -> None:
    answers = in_parallel(lambda _: ask(client_of(merchant), "k"), times=12)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in answers) == 1
    assert Payment.objects.count() == OutboxEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("killed", [False, True], ids=["fails", "killed"])
def test_when_the_winner_dies_a_twin_is_carried_out(
    merchant: User, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    winner = threading.Lock()

    def die_once(**given: Any) -> Any:
        result = services.request_payment(**given)
        if winner.acquire(blocking=False):
            until(twins_wait, seconds=20)
            if not killed:
                raise RuntimeError("in the middle")
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return result

    def twins_wait() -> bool:
        with connections.create_connection("default").cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database() AND query LIKE '%rest_kept_answer%'"
            )
            waiting = cursor.fetchone()[0]
            cursor.db.close()
            return bool(waiting == 3)

    def one(_: int) -> Any:
        client = client_of(merchant)
        client.raise_request_exception = False
        return ask(client, "k")

    replacement = _around(die_once)
    monkeypatch.setattr("payments.api.services.request_payment", replacement)
    answers = in_parallel(one, times=4)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201, 201, 201, 503 if killed else 500]
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert Payment.objects.count() == OutboxEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_twin_holds_its_thread_for_a_bounded_time(
    api: APIClient, merchant: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE", timedelta(milliseconds=50))
    claimed, done = threading.Event(), threading.Event()

    def claim() -> None:
        with transaction.atomic():
            idempotency._claim(merchant.pk, "k", b"")
            claimed.set()
            done.wait(20)
            transaction.set_rollback(True)
        connections.close_all()

    first = threading.Thread(target=claim)
    first.start()
    try:
        assert claimed.wait(20)
        answer = ask(api, "k")
        assert problem_of(answer, 409)["code"] == "idempotency_key_in_use"
        assert answer["Retry-After"] == "1"
    finally:
        done.set()
        first.join()
    assert ask(api, "k").status_code == 201


def test_old_answers_are_pruned_in_batches(api: APIClient) -> None:
    for key in "abc":
        ask(api, key)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rest_kept_answer SET asked_at = now() - interval '8 days' WHERE key < 'c'")
    assert prune(limit=1) == 1
    prune_kept_answers()
    assert [kept.key for kept in KeptAnswer.objects.all()] == ["c"]
    assert ask(api, "c")["Idempotent-Replayed"] == "true"
