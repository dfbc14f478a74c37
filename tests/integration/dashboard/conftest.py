"""People at the dashboard, and events for them to look at."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import ensure_user
from contracts.money import Money
from payments.services import request_payment, validate_payment

Pay = Callable[[User], UUID]


@pytest.fixture
def first(db: None) -> User:
    return ensure_user(username="first", password=None, groups=["merchant"])


@pytest.fixture
def second(db: None) -> User:
    return ensure_user(username="second", password=None, groups=["merchant"])


@pytest.fixture
def staff(db: None) -> User:
    return ensure_user(username="staff", password=None, is_staff=True)


@pytest.fixture
def operator(db: None) -> User:
    return ensure_user(username="operator", password=None, groups=["operator"])


@pytest.fixture
def viewer(db: None) -> User:
    return ensure_user(username="viewer", password=None, groups=["viewer"])


def browser_of(user: User) -> Client:
    """A browser in which this user is signed in."""
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


@pytest.fixture
def pay(db: None) -> Pay:
    """Has a merchant make a payment and validate it; returns the id of its PaymentValidated."""

    def make(merchant: User) -> UUID:
        now = datetime.now(UTC)
        payment, _ = request_payment(
            merchant_id=merchant.id, customer_id="c-1", money=Money(1_250, "EUR"), at=now
        )
        _, event_id = validate_payment(payment_id=payment.id, merchant_id=merchant.id, at=now)
        return event_id

    return make
