"""Every error is a problem, whoever noticed it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import User
from payments import selectors
from tests.integration.api.answers import problem_of


@pytest.mark.parametrize(
    "path", ["/api/", "/api/nothing/", "/api/payments/17/", "/api/payments", "/api/%00/"]
)
@pytest.mark.parametrize("debug", [False, True])
def test_an_address_without_anything_is_a_problem(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str, debug: bool
) -> None:
    monkeypatch.setattr(settings, "DEBUG", debug)
    problem_of(client.get(path), 404)
    problem_of(client.post(path, {}, content_type="application/json"), 404)


def test_a_form_of_another_site_finds_no_address_either(merchant: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(merchant)
    problem_of(browser.post("/api/nothing/", {}), 404)


def test_a_forgotten_slash_is_named(client: Client) -> None:
    assert "slash" in problem_of(client.get("/api/payments"), 404)["detail"]


def test_a_method_that_is_not_offered(api: APIClient) -> None:
    answer = api.delete("/api/payments/")
    assert problem_of(answer, 405)["code"] == "method_not_allowed"


def test_a_representation_that_is_not_offered(api: APIClient) -> None:
    problem_of(api.get("/api/payments/", HTTP_ACCEPT="text/html"), 406)


def test_another_hosts_name(client: Client) -> None:
    problem_of(client.get("/api/payments/", HTTP_HOST="evil.example.org"), 400)


def test_an_unforeseen_error_tells_nothing_of_the_inside(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(selectors, "payments_seen_by", fail)
    api.raise_request_exception = False
    answer = api.get("/api/payments/")
    assert problem_of(answer, 500)["code"] == "server_error"
    assert b"secret" not in answer.content


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A database that refuses connections: the settings point at a port where nothing listens."""
    connection = connections["default"]
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    yield
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_is_503(anonymous: APIClient, no_database: None) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION=f"Token {'0' * 40}")
    anonymous.raise_request_exception = False
    answer = anonymous.get("/api/payments/")
    assert problem_of(answer, 503)["code"] == "service_unavailable"
    assert answer["Retry-After"] == "1"


def test_the_schema_documents_the_errors(client: Client, db: None) -> None:
    schema = json.loads(client.get("/api/schema/?format=json").content)
    create = schema["paths"]["/api/payments/"]["post"]["responses"]
    assert {"201", "400", "401", "403", "413", "415", "default"} <= set(create)
    assert "409" in schema["paths"]["/api/payments/{payment_id}/validate/"]["post"]["responses"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            for code, response in operation["responses"].items():
                if code.startswith("4"):
                    assert set(response["content"]) == {"application/problem+json"}, (path, method, code)


def test_the_documentation_loads_nothing_from_elsewhere(client: Client, db: None) -> None:
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert b"/static/drf_spectacular_sidecar/" in page.content
    assert b"//cdn" not in page.content
    assert b"https://" not in page.content


@pytest.mark.parametrize(
    "body",
    [
        '{"customer_id": "c-1", "currency": "EUR", "amount": "1.00", "amount": "1000.00"}',
        '{"customer_id": "c-1", "currency": "EUR", "amount": "1.00", "metadata": {"a": "1", "a": "2"}}',
    ],
)
def test_a_name_given_twice_is_refused(api: APIClient, body: str) -> None:
    refused = problem_of(api.generic("POST", "/api/payments/", body, content_type="application/json"), 400)
    assert refused["code"] == "parse_error"
    assert "is given twice" in refused["detail"]
