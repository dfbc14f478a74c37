"""The admin shows the services' rows and changes none."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import ensure_user
from contracts.fields import Line
from contracts.money import Money
from orders.services import cancel_order, modify_order
from payments.services import reject_payment, request_payment
from tests.integration.sales import earn_points, instantiate_order

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


def test_how_rows_ended_is_listed_and_shown(browser: Client, rows: dict[str, str]) -> None:
    payment, order = UUID(rows["payments/payment"]), UUID(rows["orders/order"])
    reject_payment(payment_id=payment, merchant_id=None, reason="<b>no</b> money", at=AT)
    modify_order(order_id=order, merchant_id=None, shipping_address="<b>Here</b>\nand there", at=AT)
    cancel_order(order_id=order, merchant_id=None, reason="<b>no</b> stock", at=AT)
    for kind, words in (
        ("payments/payment", ["rejected", "Command", "&lt;b&gt;no&lt;/b&gt; money", "2026-01-03 03:04:05"]),
        ("orders/order", ["cancelled", "Command", "&lt;b&gt;no&lt;/b&gt; stock", "&lt;b&gt;Here&lt;/b&gt;"]),
    ):
        shown = browser.get(f"/admin/{kind}/{rows[kind]}/change/").content.decode()
        assert [word for word in words if word not in shown] == []
        for query, count in (("cause__exact=command", 1), ("cause__exact=nonsense", 0)):
            page = browser.get(f"/admin/{kind}/?{query}").content.decode()
            assert (rows[kind] in page) == bool(count)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_rows_cannot_be_changed(browser: Client, rows: dict[str, str], kind: str) -> None:
    assert browser.get(f"/admin/{kind}/add/").status_code == 403
    assert browser.post(f"/admin/{kind}/{rows[kind]}/change/", {}).status_code == 403
    assert browser.post(f"/admin/{kind}/{rows[kind]}/delete/", {"post": "yes"}).status_code == 403


def test_merchants_have_no_business_here(client: Client, merchant: User) -> None:
    client.force_login(merchant)
    assert client.get("/admin/payments/payment/").status_code == 302
