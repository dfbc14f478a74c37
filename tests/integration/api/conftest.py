"""Callers of the API, and payments they have made."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import ensure_token, ensure_user
from tests.integration.api.answers import MakePayment


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {ensure_token(user=user)}")
    return client


@pytest.fixture
def merchant(db: None) -> User:
    return ensure_user(username="first", password=None, groups=["merchant"])


@pytest.fixture
def api(merchant: User) -> APIClient:
    """The API as the merchant uses it."""
    return client_of(merchant)


@pytest.fixture
def other_api(db: None) -> APIClient:
    """The API as another merchant uses it."""
    return client_of(ensure_user(username="second", password=None, groups=["merchant"]))


@pytest.fixture
def staff_api(db: None) -> APIClient:
    """The API as staff use it."""
    return client_of(ensure_user(username="staff", password=None, is_staff=True))


@pytest.fixture
def viewer_api(db: None) -> APIClient:
    """The API as someone uses it who sees all and acts on nothing."""
    return client_of(ensure_user(username="viewer", password=None, groups=["viewer"]))


@pytest.fixture
def operator_api(db: None) -> APIClient:
    """The API as someone uses it who acts for any merchant."""
    return client_of(ensure_user(username="operator", password=None, groups=["operator"]))


@pytest.fixture
def nobodys_api(db: None) -> APIClient:
    """The API as someone uses it who is in no group."""
    return client_of(ensure_user(username="guest", password=None))


@pytest.fixture
def anonymous() -> APIClient:
    return APIClient()


@pytest.fixture
def make_payment(api: APIClient) -> MakePayment:
    """Requests a payment as the merchant."""

    def make(client: APIClient = api, **given: Any) -> dict[str, Any]:
        body = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR", **given}
        answer = client.post("/api/payments/", body)
        assert answer.status_code == 201, answer.content
        made: dict[str, Any] = answer.json()
        return made

    return make
