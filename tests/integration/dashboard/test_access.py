"""Who sees what at the dashboard."""

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from dashboard.middleware import STRICT
from outbox.models import OutboxEvent
from payments.models import Payment
from tests.integration.dashboard.conftest import Pay, browser_of

FORM = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR"}


@pytest.fixture
def anonymous() -> Client:
    return Client(headers={"host": "localhost"})


def test_everything_but_the_sign_in_page_asks_who_is_there(db: None, anonymous: Client) -> None:
    somewhere = [
        reverse("flow"),
        reverse("find"),
        reverse("event", args=[uuid4()]),
        reverse("payments"),
        reverse("following", args=[uuid4()]),
        reverse("payment", args=[uuid4()]),
        reverse("payment-now", args=[uuid4()]),
        reverse("payment-command", args=[uuid4(), "refund"]),
    ]
    for path in somewhere:
        answer = anonymous.get(path)
        assert answer.status_code == 302, path
        assert answer.headers["Location"].startswith("/login/?next=")
    assert anonymous.get(reverse("flow-stream")).status_code == 401
    assert anonymous.get(reverse("login")).status_code == 200


def test_the_sign_in_page_sends_nobody_elsewhere(first: User, anonymous: Client) -> None:
    first.set_password("a-password-for-tests")
    first.save()
    form = {"username": "first", "password": "a-password-for-tests", "next": "https://elsewhere.example/"}
    assert anonymous.post(reverse("login"), form).headers["Location"] == "/"


def test_an_event_is_found_by_those_who_run_the_system_alone(
    first: User, viewer: User, staff: User, pay: Pay
) -> None:
    event = OutboxEvent.objects.get(id=pay(first))
    page = reverse("event", args=[event.id])
    for wanted in (event.id, event.key, event.correlation_id):
        for user, status in ((first, 403), (viewer, 302), (staff, 302)):
            assert browser_of(user).get(reverse("find"), {"q": str(wanted)}).status_code == status
    for user, status in ((first, 403), (viewer, 200), (staff, 200)):
        assert browser_of(user).get(page).status_code == status


def test_strange_searches_find_nothing(staff: User) -> None:
    for wanted in ("", "   ", "\x00", "é" * 5_000, "<script>", "%", "01a2"):
        assert browser_of(staff).get(reverse("find"), {"q": wanted}).status_code == 404


def test_a_payment_is_followed_by_its_merchant_and_staff_alone(
    first: User, second: User, staff: User, pay: Pay
) -> None:
    pay(first)
    payment = Payment.objects.get()
    for user, status in ((first, 200), (second, 404), (staff, 200)):
        assert browser_of(user).get(reverse("following", args=[payment.id])).status_code == status
        assert browser_of(user).get(reverse("payments"), {"payment": str(payment.id)}).status_code == status
    assert browser_of(staff).get(reverse("flow"), {"payment": str(payment.id)}).status_code == 200
    assert browser_of(staff).get(reverse("flow"), {"payment": "nonsense"}).status_code == 404


def test_merchants_pay_for_themselves_whatever_the_form_says(first: User, second: User) -> None:
    answer = browser_of(first).post(reverse("payments"), {**FORM, "merchant": str(second.id)})
    assert answer.status_code == 302
    assert Payment.objects.get().merchant_id == first.id


def test_operators_pay_for_merchants_and_nobody_else(first: User, viewer: User, operator: User) -> None:
    client = browser_of(operator)
    for nobody in ("", str(viewer.id), str(uuid4()), "nonsense"):
        assert client.post(reverse("payments"), {**FORM, "merchant": nobody}).status_code == 422
    assert client.post(reverse("payments"), {**FORM, "merchant": str(first.id)}).status_code == 302
    assert Payment.objects.get().merchant_id == first.id


def test_who_is_no_merchant_and_no_operator_pays_nothing(viewer: User, staff: User) -> None:
    for user in (viewer, staff):
        assert browser_of(user).post(reverse("payments"), FORM).status_code == 403
    assert not Payment.objects.exists()


def test_merchants_are_led_to_their_payments_and_to_no_event(
    first: User, second: User, operator: User, pay: Pay
) -> None:
    mine, others = pay(first), pay(second)
    client = browser_of(first)
    assert client.get(reverse("flow")).headers["Location"] == reverse("payments")
    payment = OutboxEvent.objects.get(id=mine).key
    made = client.post(reverse("payments"), FORM).headers["Location"]
    assert made.startswith(f"{reverse('payments')}?payment=")
    pages = [
        reverse("payments"),
        f"{reverse('payments')}?payment={payment}",
        reverse("payment", args=[payment]),
        reverse("payment-now", args=[payment]),
        reverse("following", args=[payment]),
    ]
    for page in pages:
        shown = client.get(page).content.decode()
        assert "/events/" not in shown, page
        assert str(others) not in shown, page
    for page in pages[1:]:
        assert reverse("event", args=[mine]) in browser_of(operator).get(page).content.decode(), page


def test_a_form_from_elsewhere_is_refused(first: User) -> None:
    client = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    client.force_login(first)
    assert client.post(reverse("payments"), FORM).status_code == 403
    assert not Payment.objects.exists()


@pytest.mark.parametrize(
    "given",
    [
        {"amount": "-1"},
        {"amount": "0"},
        {"amount": "1.234"},
        {"amount": "1e3"},
        {"amount": "9" * 40},
        {"currency": "XXX"},
        {"currency": "JPY"},
        {"customer_id": "<script>"},
        {"customer_id": ""},
        {"customer_id": "a" * 101},
    ],
)
def test_bad_input_makes_no_payment(first: User, given: dict[str, str]) -> None:
    assert browser_of(first).post(reverse("payments"), {**FORM, **given}).status_code == 422
    assert not Payment.objects.exists()


def test_one_payment_is_one_story(first: User) -> None:
    browser_of(first).post(reverse("payments"), FORM)
    assert OutboxEvent.objects.count() == 2
    assert OutboxEvent.objects.values("correlation_id").distinct().count() == 1


def test_our_pages_run_nothing_inline_and_the_admin_nothing_from_elsewhere(staff: User) -> None:
    client = browser_of(staff)
    for path in (reverse("flow"), "/login/", "/nowhere/"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert policy == STRICT
        assert "unsafe" not in policy
    for path in (reverse("admin:index"), reverse("api-docs")):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy
