"""The admin shows the services' rows and changes none."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import ensure_user
from contracts.fields import Line
from contracts.money import Money
from loyalty.services import earn_points
from orders.services import instantiate_order
from payments.services import request_payment

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LINES = [Line(sku="<b>tea</b>", quantity=2, unit_price_minor=625)]
EUROS = Money.parse("12.50", "EUR")


@pytest.fixture
def browser(db: None, client: Client) -> Client:
    client.force_login(ensure_user(username="staff", password=None, is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def rows(merchant: User) -> dict[str, str]:
    """The address of one row of each kind."""
    whose: dict[str, Any] = {"merchant_id": merchant.id, "customer_id": "c-1", "money": EUROS, "at": AT}
    payment, _ = request_payment(**whose, lines=LINES, metadata={"note": "<script>alert(1)</script>"})
    order = instantiate_order(**whose, payment_id=payment.id, lines=LINES)
    entry = earn_points(**whose, payment_id=payment.id, points_per_unit=1)
    return {
        "payments/payment": str(payment.id),
        "orders/order": str(order.id),
        "loyalty/ledgerentry": str(entry.id),
        "loyalty/account": str(entry.account_id),
        "accounts/user": str(merchant.id),
    }


KINDS = ["payments/payment", "orders/order", "loyalty/ledgerentry", "loyalty/account", "accounts/user"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_listed_searched_and_shown(browser: Client, rows: dict[str, str], kind: str) -> None:
    row = rows[kind]
    for query in ("", f"?q={row}"):
        page = browser.get(f"/admin/{kind}/{query}")
        assert page.status_code == 200
        assert row in page.content.decode()
    assert row not in browser.get(f"/admin/{kind}/?q={uuid4()}").content.decode()
    assert browser.get(f"/admin/{kind}/?q=no-uuid-at-all").status_code == 200
    shown = browser.get(f"/admin/{kind}/{row}/change/")
    assert shown.status_code == 200
    assert "<script>alert(1)" not in shown.content.decode()
    assert "<b>tea" not in shown.content.decode()


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_rows_cannot_be_changed(browser: Client, rows: dict[str, str], kind: str) -> None:
    assert browser.get(f"/admin/{kind}/add/").status_code == 403
    assert browser.post(f"/admin/{kind}/{rows[kind]}/change/", {}).status_code == 403
    assert browser.post(f"/admin/{kind}/{rows[kind]}/delete/", {"post": "yes"}).status_code == 403


def test_merchants_have_no_business_here(client: Client, merchant: User) -> None:
    client.force_login(merchant)
    assert client.get("/admin/payments/payment/").status_code == 302
