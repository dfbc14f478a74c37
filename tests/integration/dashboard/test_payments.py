"""The payments' pages: who sees which, what each state offers to whom, and what a command sent there does."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.services import ensure_user
from contracts.money import Money
from orders.models import Order
from outbox.ids import new_id
from outbox.models import DeadLetter, OutboxEvent
from outbox.repair.acts import Act, Operator
from outbox.repair.letters import discard, replay
from payments.models import Payment
from payments.services import refund_payment, request_payment, validate_payment
from tests.integration.dashboard.conftest import browser_of
from tests.integration.dashboard.poisoned import condemn
from tests.integration.settling import settle

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def request(merchant: User, *, customer: str = "c-1", currency: str = "EUR") -> Payment:
    payment, _ = request_payment(
        merchant_id=merchant.id,
        customer_id=customer,
        money=Money(1_250, currency),
        at=datetime.now(UTC),
        metadata={"note": "<b>bold</b>"},
    )
    return payment


def paid(merchant: User) -> Payment:
    payment = request(merchant)
    validate_payment(payment_id=payment.id, merchant_id=merchant.id, at=datetime.now(UTC))
    settle()
    payment.refresh_from_db()
    return payment


def page_of(user: User, payment: Payment) -> str:
    answer = browser_of(user).get(reverse("payment", args=[payment.id]))
    assert answer.status_code == 200
    return answer.content.decode()


def offers(user: User, payment: Payment) -> set[str]:
    return set(re.findall(r'id="command-(\w+)"', page_of(user, payment)))


def as_of(user: User, payment: Payment) -> str:
    """The version of the order that the page's form was made from; nothing where there is no form."""
    found = re.search(r'name="as_of" value="([^"]+)"', page_of(user, payment))
    return found[1] if found else ""


def send(user: User, payment: Payment, command: str, headers: Any = None, **form: Any) -> Any:
    address = reverse("payment-command", args=[payment.id, command])
    if command == "modify":
        form = {"as_of": as_of(user, payment), **form}
    return browser_of(user).post(address, form, headers=headers or HTMX)


def test_each_state_offers_what_it_allows(first: User) -> None:
    payment = request(first)
    assert offers(first, payment) == {"validate", "reject"}
    assert send(first, payment, "validate").status_code == 200
    assert offers(first, payment) == {"refund"}
    settle()
    assert offers(first, payment) == {"refund", "modify", "cancel"}
    assert send(first, payment, "refund", reason="damaged").status_code == 200
    assert offers(first, payment) == {"modify"}
    settle()
    assert offers(first, payment) == set()
    assert "Nothing can be asked of it any more" in page_of(first, payment)


def test_an_expired_payment_offers_no_validation(first: User) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    payment, _ = request_payment(merchant_id=first.id, customer_id="c-1", money=Money(1, "JPY"), at=past)
    assert offers(first, payment) == {"reject"}


def test_only_those_who_may_act_are_offered_anything(
    first: User, second: User, staff: User, viewer: User, operator: User
) -> None:
    payment = request(first)
    assert offers(operator, payment) == {"validate", "reject"}
    for watcher in (staff, viewer):
        assert offers(watcher, payment) == set()
        assert send(watcher, payment, "validate").status_code == 403
    assert browser_of(second).get(reverse("payment", args=[payment.id])).status_code == 404
    assert browser_of(second).get(reverse("payment-now", args=[payment.id])).status_code == 404
    assert send(second, payment, "validate").status_code == 404
    seeing = ensure_user(username="seeing", password=None, groups=["merchant", "viewer"])
    assert offers(seeing, payment) == set()
    assert send(seeing, payment, "validate").status_code == 404
    payment.refresh_from_db()
    assert payment.status == "pending"
    assert send(operator, payment, "validate").status_code == 200


def test_danger_is_named_in_numbers(first: User) -> None:
    payment = paid(first)
    order = Order.objects.get(payment_id=payment.id)
    said = f"{str(order.id)[:4]}…{str(order.id)[-6:]}"
    page = page_of(first, payment)
    assert f"Refunds 12.50 EUR to customer c-1, cancels order {said} and takes back 12 points." in page
    assert f"Cancels order {said}, refunds 12.50 EUR to customer c-1 and takes back 12 points." in page


def test_a_command_sent_twice_is_carried_out_once(first: User) -> None:
    payment = paid(first)
    assert send(first, payment, "refund", reason="damaged").status_code == 200
    events = OutboxEvent.objects.count()
    again = send(first, payment, "refund", reason="damaged")
    assert again.status_code == 409
    assert "is refunded; only a validated payment can be refunded" in again.content.decode()
    assert 'data-state="warn" role="alert"' in again.content.decode()
    assert OutboxEvent.objects.count() == events
    settle()
    assert send(first, payment, "cancel", reason="late").status_code == 409
    assert send(first, payment, "modify", shipping_address="Elsewhere").status_code == 409


@pytest.mark.parametrize("command", ["validate", "reject", "refund", "modify", "cancel"])
def test_an_operators_command_is_written_down_once_and_a_merchants_own_is_not(
    first: User, operator: User, command: str
) -> None:
    given = {
        "validate": {},
        "modify": {"sku": "tea", "quantity": "1", "unit_price": "12.50", "shipping_address": "Street 1"},
    }.get(command, {"reason": "the customer has called"})
    for user, many in ((first, 0), (operator, 1)):
        payment = request(first) if command in {"validate", "reject"} else paid(first)
        events = set(OutboxEvent.objects.values_list("id", flat=True))
        assert send(user, payment, command, **given).status_code == 200
        assert send(user, payment, command, **given).status_code == (200 if command == "modify" else 409)
        assert Act.objects.count() == many
    act = Act.objects.get()
    assert (act.who, act.via, act.act, act.result) == ("operator", "dashboard", command, "done")
    assert act.why == given.get("reason", "")
    assert act.event_id == OutboxEvent.objects.exclude(id__in=events).get().id


def test_a_bad_form_of_an_operators_is_not_written_down(first: User, operator: User) -> None:
    payment = paid(first)
    assert send(operator, payment, "refund", reason=" ").status_code == 422
    lines = {"sku": "tea", "quantity": "1", "unit_price": "1"}
    assert send(operator, payment, "modify", **lines).status_code == 422
    assert not Act.objects.exists()


def test_without_a_script_the_forms_lead_back_to_the_page(first: User) -> None:
    payment = request(first)
    plain = {"Accept": "text/html"}
    answer = send(first, payment, "reject", plain, reason="")
    assert answer.status_code == 422
    assert "<!doctype html>" in answer.content.decode()
    assert "This field is required" in answer.content.decode()
    answer = send(first, payment, "reject", plain, reason="not ours")
    assert (answer.status_code, answer.headers["Location"]) == (302, reverse("payment", args=[payment.id]))
    assert "not ours" in page_of(first, payment)
    answer = send(first, payment, "validate", plain)
    assert answer.status_code == 409
    assert "<!doctype html>" in answer.content.decode()


@pytest.mark.parametrize(
    "reason", ["", "   ", "a" * 501, "a\x00b", "a\x07b", "a\x85b", "a\nb", "\u200b\u202e"]
)
def test_a_bad_reason_changes_nothing(first: User, reason: str) -> None:
    payment = paid(first)
    for command in ("refund", "cancel"):
        assert send(first, payment, command, reason=reason).status_code == 422
    pending = request(first)
    assert send(first, pending, "reject", reason=reason).status_code == 422
    assert set(Payment.objects.values_list("status", flat=True)) == {"validated", "pending"}


def test_an_order_is_changed_line_by_line(first: User) -> None:
    payment = paid(first)
    lines = {
        "sku": ["tea", "", "<i>cup</i>"],
        "quantity": ["2", "", "1"],
        "unit_price": ["5", "", "2.50"],
        "shipping_address": "Street 1\r\n12345 Town",
    }
    assert send(first, payment, "modify", **lines).status_code == 200
    order = Order.objects.get(payment_id=payment.id)
    assert order.shipping_address == "Street 1\n12345 Town"
    assert [(line.sku, line.quantity, line.unit_price_minor) for line in order.as_lines()] == [
        ("tea", 2, 500),
        ("<i>cup</i>", 1, 250),
    ]
    page = page_of(first, payment)
    assert "Street 1<br>12345 Town" in page
    assert "&lt;i&gt;cup&lt;/i&gt;" in page
    assert "<i>cup" not in page
    assert "<b>bold" not in page
    # Nothing different: nothing is published.
    events = OutboxEvent.objects.count()
    assert send(first, payment, "modify", **lines).status_code == 200
    assert OutboxEvent.objects.count() == events


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sku": "tea", "quantity": "1", "unit_price": "12.49"}, "add up to 12.49 EUR"),
        ({"sku": "tea", "quantity": "0", "unit_price": "12.50"}, "quantity is a whole number"),
        ({"sku": "tea", "quantity": "9" * 30, "unit_price": "12.50"}, "quantity is a whole number"),
        ({"sku": "tea", "quantity": "²", "unit_price": "12.50"}, "quantity is a whole number"),
        ({"sku": "", "quantity": "1", "unit_price": "12.50"}, "named by 1 to 100"),
        ({"sku": "a" * 101, "quantity": "1", "unit_price": "12.50"}, "named by 1 to 100"),
        ({"sku": "te\x00a", "quantity": "1", "unit_price": "12.50"}, "Control characters"),
        ({"sku": "tea", "quantity": "1", "unit_price": "12.505"}, "2 decimals"),
        ({"sku": ["tea"] * 101, "quantity": ["1"] * 101, "unit_price": ["1"] * 101}, "at most 100 lines"),
        ({"shipping_address": "a" * 501}, "at most 500"),
        ({"shipping_address": "a\tb"}, "control characters"),
    ],
)
def test_a_bad_change_changes_nothing_and_is_kept_in_the_form(
    first: User, given: dict[str, Any], said: str
) -> None:
    payment = paid(first)
    events = OutboxEvent.objects.count()
    answer = send(first, payment, "modify", **given)
    assert answer.status_code == 422, answer.content
    assert said in answer.content.decode()
    assert OutboxEvent.objects.count() == events
    if isinstance(given.get("sku"), str) and "\x00" not in given["sku"]:
        assert f'value="{given["unit_price"]}"' in answer.content.decode()


def test_a_form_that_was_made_before_a_change_does_not_undo_it(first: User) -> None:
    payment = paid(first)
    old = as_of(first, payment)
    mine = {"sku": "tea", "quantity": "1", "unit_price": "12.50", "shipping_address": "Street 9"}
    theirs = {**mine, "sku": "coffee", "shipping_address": "Street 1"}
    assert send(first, payment, "modify", **theirs, as_of=old).status_code == 200
    events = OutboxEvent.objects.count()
    for version in (old, "", "x"):
        answer = send(first, payment, "modify", **mine, as_of=version)
        assert answer.status_code == 409
        page = answer.content.decode()
        assert "has been changed since this form was made" in page
        # What it is now, in the form as well.
        assert 'name="sku" value="coffee"' in page
        assert 'name="sku" value="tea"' not in page
    # Sent twice, it has come about already.
    assert send(first, payment, "modify", **theirs, as_of=old).status_code == 200
    # Refused for something else, the form does not become newer than what it was made from.
    answer = send(first, payment, "modify", **{**mine, "quantity": "0"}, as_of=old)
    assert answer.status_code == 422
    assert f'name="as_of" value="{old}"' in answer.content.decode()
    order = Order.objects.get(payment_id=payment.id)
    assert ([line.sku for line in order.as_lines()], order.shipping_address) == (["coffee"], "Street 1")
    assert OutboxEvent.objects.count() == events
    assert send(first, payment, "modify", **mine).status_code == 200


def test_lines_and_address_are_not_taken_away(first: User) -> None:
    payment = paid(first)
    assert send(first, payment, "modify", sku="tea", quantity="1", unit_price="12.50").status_code == 200
    assert send(first, payment, "modify", shipping_address="Street 1").status_code == 422
    kept = {"sku": "tea", "quantity": "1", "unit_price": "12.50"}
    assert send(first, payment, "modify", shipping_address="Street 1", **kept).status_code == 200
    assert send(first, payment, "modify", shipping_address="", **kept).status_code == 422


def test_unknown_commands_and_forms_from_elsewhere(first: User) -> None:
    payment = request(first)
    assert send(first, payment, "explode").status_code == 404
    asked = browser_of(first).get(reverse("payment-command", args=[payment.id, "reject"]))
    assert asked.headers["Location"] == reverse("payment", args=[payment.id])
    strict = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    strict.force_login(first)
    assert strict.post(reverse("payment-command", args=[payment.id, "validate"])).status_code == 403
    assert send(first, payment, "modify", shipping_address="Street").status_code == 409


def test_the_page_asks_again_until_nothing_follows(first: User) -> None:
    payment = request(first)
    validate_payment(payment_id=payment.id, merchant_id=first.id, at=datetime.now(UTC))
    client, address = browser_of(first), reverse("payment-now", args=[payment.id])
    page = page_of(first, payment)
    assert "hx-trigger" in page
    shown = re.search(r'data-token="([^"]*)"', page)
    assert shown is not None
    settle(but=["orders"])
    while_waiting = client.get(address, {"offered": shown[1]}).content.decode()
    assert 'hx-trigger="load' in while_waiting
    settle()
    # The order has come: other commands are on offer than those that the page shows.
    done = client.get(address, {"offered": shown[1]}).content.decode()
    # Others may act on it: the page asks seldom.
    assert 'hx-trigger="every 12s"' in done
    assert 'id="command-cancel"' in done
    fresh = re.search(r'data-token="([^"]*)"', done)
    assert fresh is not None
    unchanged = client.get(address, {"offered": fresh[1]}).content.decode()
    assert "command-" not in unchanged


def test_commands_are_drawn_solid_and_events_dashed(first: User) -> None:
    payment = paid(first)
    refund_payment(payment_id=payment.id, merchant_id=first.id, reason="damaged", at=datetime.now(UTC))
    settle()
    page = page_of(first, payment)
    assert len(re.findall(r'<path class="command"', page)) == 3
    assert re.findall(r'<text class="label"[^>]*>(\w+)</text>', page) == ["request", "validate", "refund"]
    # PaymentValidated and PaymentRefunded each reach orders and loyalty, which answer both.
    assert len(re.findall(r'<path class="event"', page)) >= 6
    boxes = re.findall(r"<title>([\w.]+)</title><rect", page)
    assert len(boxes) == 7
    assert "Because</dt><dd>damaged" in page


# The list


def ids_in(page: str) -> list[str]:
    return re.findall(r'data-href="/payments/([0-9a-f-]+)/"', page)


def listed(user: User, **asked: str) -> list[str]:
    answer = browser_of(user).get(reverse("payments"), asked)
    assert answer.status_code == 200
    return ids_in(answer.content.decode())


def test_the_list_shows_each_what_it_may_see(
    first: User, second: User, staff: User, viewer: User, operator: User
) -> None:
    mine, theirs = str(request(first).id), str(request(second).id)
    assert listed(first) == [mine]
    assert listed(second) == [theirs]
    for everyone in (staff, viewer, operator):
        assert listed(everyone) == [theirs, mine]
        assert listed(everyone, merchant=str(first.id)) == [mine]
    # To a merchant the filter means nothing: it sees its own.
    assert listed(second, merchant=str(first.id)) == [theirs]


def test_filters_are_in_the_address(first: User) -> None:
    euro, yen = request(first), request(first, currency="JPY", customer="c-2")
    validate_payment(payment_id=euro.id, merchant_id=first.id, at=datetime.now(UTC))
    assert listed(first, status="validated") == [str(euro.id)]
    assert listed(first, currency="JPY") == [str(yen.id)]
    assert listed(first, customer="c-2", status="pending", currency="JPY") == [str(yen.id)]
    assert listed(first, customer="nobody") == []


@pytest.mark.parametrize(
    "asked",
    [{"status": "lost"}, {"currency": "XXX"}, {"before": "x"}, {"customer": "\x00"}, {"after": "1" * 99}],
)
def test_a_filter_that_means_nothing_shows_nothing(first: User, asked: dict[str, str]) -> None:
    request(first)
    answer = browser_of(first).get(reverse("payments"), asked)
    assert answer.status_code == 400
    assert ids_in(answer.content.decode()) == []


def test_pages_stay_right_while_payments_come_in(first: User) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    made = [
        Payment(
            id=new_id(start + timedelta(seconds=number)),
            merchant_id=first.id,
            customer_id="c-1",
            amount_minor=1,
            currency="JPY",
            created_at=start,
            expires_at=start + timedelta(days=1),
        )
        for number in range(120)
    ]
    Payment.objects.bulk_create(made)
    expected = [str(payment.id) for payment in reversed(made)]
    client, address, seen = browser_of(first), reverse("payments") + "?currency=JPY", []
    pages: list[str] = []
    while address:
        page = client.get(address).content.decode()
        pages.append(page)
        seen += ids_in(page)
        request(first, currency="JPY")  # at the top, where nobody is looking
        older = re.search(r'href="(\?[^"]*)" rel="next"', page)
        address = reverse("payments") + older[1].replace("&amp;", "&") if older else ""
    assert seen == expected
    assert "currency=JPY" in pages[0]
    newer = re.search(r'href="(\?[^"]*)" rel="prev"', pages[2])
    assert newer is not None
    back = client.get(reverse("payments") + newer[1].replace("&amp;", "&")).content.decode()
    assert ids_in(back) == expected[50:100]


def test_a_payment_may_be_left_pending(first: User) -> None:
    client, form = browser_of(first), {"customer_id": "c-1", "amount": "1", "currency": "EUR"}
    answer = client.post(reverse("payments"), {**form, "validate": "later"})
    payment = Payment.objects.get()
    assert payment.status == "pending"
    assert answer.headers["Location"] == reverse("payment", args=[payment.id])
    answer = client.post(reverse("payments"), {**form, "validate": "later"}, headers=HTMX)
    assert answer.status_code == 204
    assert UUID(answer.headers["HX-Redirect"].split("/")[2])
    assert browser_of(first).get(reverse("payment", args=[uuid4()])).status_code == 404


def key_on(page: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_a_form_that_is_sent_twice_makes_one_payment(first: User) -> None:
    client = browser_of(first)
    key = key_on(client.get(reverse("payments")).content.decode())
    form = {"customer_id": "c-1", "amount": "1", "currency": "EUR", "key": key}
    answers = [client.post(reverse("payments"), form) for _ in range(2)]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert Payment.objects.count() == 1
    assert OutboxEvent.objects.count() == 2
    # Went back, and asked for something else.
    client.post(reverse("payments"), {**form, "amount": "2"})
    assert Payment.objects.count() == 2
    # The page that follows asks for another payment, be it the same.
    again = client.post(reverse("payments"), {**form, "amount": "2"}, headers=HTMX).content.decode()
    assert Payment.objects.count() == 2
    client.post(reverse("payments"), {**form, "key": key_on(again)})
    assert Payment.objects.count() == 3
    assert client.post(reverse("payments"), {**form, "key": "x"}).status_code == 422


def test_a_payment_that_an_operator_makes_for_a_merchant_is_written_down_once(
    first: User, operator: User
) -> None:
    client = browser_of(operator)
    form = {"customer_id": "c-1", "amount": "1", "currency": "EUR", "merchant": str(first.id)}
    for _ in range(2):
        client.post(reverse("payments"), {**form, "key": "0e0c1b1c-4f0c-4f0e-9f43-6d5c6b1f2a10"})
    told = list(OutboxEvent.objects.order_by("position").values_list("id", flat=True))
    acts = Act.objects.order_by("id").values_list("who", "via", "act", "result", "event_id")
    assert list(acts) == [
        ("operator", "dashboard", "request", "done", told[0]),
        ("operator", "dashboard", "validate", "done", told[1]),
    ]
    client.post(reverse("payments"), {**form, "validate": "later"})
    assert Act.objects.count() == 3


def test_a_payment_is_made_of_lines(first: User) -> None:
    client = browser_of(first)
    lines = {"sku": ["tea", "", "cup"], "quantity": ["2", "", "1"], "unit_price": ["5", "", "2.5"]}
    form = {"customer_id": "c-1", "amount": "99", "currency": "eur", "validate": "later"}
    assert client.post(reverse("payments"), {**form, **lines}).status_code == 302
    payment = Payment.objects.get()
    assert (payment.amount_minor, len(payment.lines)) == (1_250, 2)
    for wrong, said in (
        ({**lines, "unit_price": ["5", "", "2.505"]}, "Line 2: The price of one"),
        ({**lines, "quantity": ["2", "", "-1"]}, "Line 2: The quantity"),
        ({**lines, "unit_price": ["9" * 30, "", "1"]}, "Line 1: The price of one"),
        ({"sku": ["a"] * 101, "quantity": ["1"] * 101, "unit_price": ["1"] * 101}, "at most 100 lines"),
        ({**lines, "currency": "XXX"}, "XXX"),
        ({"amount": ""}, 'class="errors"'),
    ):
        answer = client.post(reverse("payments"), {**form, **wrong})
        assert answer.status_code == 422
        assert said in answer.content.decode()
        if "sku" in wrong:
            assert 'value="a"' in answer.content.decode() or 'value="cup"' in answer.content.decode()
    assert Payment.objects.count() == 1


def test_a_page_asks_seldom_until_nothing_can_change_any_more(first: User) -> None:
    payment = request(first)
    settle()
    assert 'hx-trigger="every 12s"' in page_of(first, payment)
    send(first, payment, "reject", reason="late")
    settle()
    assert "hx-trigger" not in page_of(first, payment).split('id="timeline"')[1].split(">")[0]


def condemned(merchant: User, *, refunded: bool = False) -> tuple[Payment, DeadLetter]:
    """A payment of which orders could not process the validation, and that was perhaps refunded since."""
    payment = request(merchant)
    settle()
    validate_payment(payment_id=payment.id, merchant_id=merchant.id, at=datetime.now(UTC))
    if refunded:
        refund_payment(
            payment_id=payment.id, merchant_id=merchant.id, reason="wrong size", at=datetime.now(UTC)
        )
    letter = condemn(payment.id)
    settle()
    return payment, letter


def story_of(user: User, payment: Payment) -> tuple[str, str]:
    """What the page says of the timeline as a whole, and in the place of the order."""
    page = page_of(user, payment)
    timeline = page.partition('id="timeline"')[2].partition('<svg class="drawing')[0]
    return timeline, page.partition('aria-label="Order"')[2].partition("</section>")[0]


def test_what_could_not_be_processed_is_said_and_leads_on(first: User, viewer: User, operator: User) -> None:
    payment, letter = condemned(first, refunded=True)
    behind = OutboxEvent.objects.get(key=letter.key, type="payments.PaymentRefunded.v1")
    timeline, order = story_of(operator, payment)
    assert "held up" in timeline
    assert "hx-get" in timeline, "it is refunded, but not over"
    assert "Orders could not process PaymentValidated." in timeline
    assert f'href="{reverse("event", args=[letter.event_id])}">See why, and repair it' in timeline
    assert "Orders keeps PaymentRefunded waiting behind an earlier event of its key." in timeline
    assert f'href="{reverse("event", args=[behind.id])}">Behind which' in timeline
    assert "the order service could not process that the payment is validated" in order
    assert f'href="{reverse("event", args=[letter.event_id])}">See why<' in story_of(viewer, payment)[0]
    # Its merchant is told as well, and sees no event's page.
    timeline, order = story_of(first, payment)
    assert "Orders could not process PaymentValidated." in timeline
    assert "See why" not in timeline

    discard(letter_id=letter.id, operator=Operator("ann", "a test"))
    settle()
    timeline, order = story_of(operator, payment)
    assert "nothing under way" in timeline
    assert "could not process" not in timeline
    assert "for the order service the event that the payment is validated was discarded" in order


def test_what_was_repaired_is_held_up_no_more(first: User, operator: User) -> None:
    payment, letter = condemned(first)
    replay(letter_id=letter.id, operator=Operator("ann", "a test"))
    assert "under way" in story_of(operator, payment)[0]
    settle()
    timeline, order = story_of(operator, payment)
    assert "nothing under way" in timeline
    assert "<dt>Created</dt>" in order


def test_without_an_order_the_page_says_why(first: User) -> None:
    payment = request(first)
    assert "It is made when the payment is validated" in story_of(first, payment)[1]
    validate_payment(payment_id=payment.id, merchant_id=first.id, at=datetime.now(UTC))
    assert "has yet to hear of the payment" in story_of(first, payment)[1]


def test_no_merchant_is_out_of_reach(
    first: User, second: User, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"customer_id": "c-1", "amount": "1", "currency": "EUR", "validate": "later"}
    client = browser_of(operator)
    assert f'<option value="{second.id}">second' in client.get(reverse("payments")).content.decode()
    monkeypatch.setattr("dashboard.forms.MOST_MERCHANTS", 1)
    page = client.get(reverse("payments")).content.decode()
    assert '<option value="' + str(second.id) not in page
    assert "too many to list" in page
    for said, status in (("second", 302), (str(second.id), 302), ("operator", 422), ("", 422), ("\x00", 422)):
        assert client.post(reverse("payments"), {**form, "merchant": said}).status_code == status
    assert set(Payment.objects.values_list("merchant_id", flat=True)) == {second.id}
    for name, shown in (("second", 2), ("first", 0), (str(second.id), 2)):
        page = client.get(reverse("payments"), {"merchant": name}).content.decode()
        assert len(ids_in(page)) == shown
    assert client.get(reverse("payments"), {"merchant": "nobody"}).status_code == 400
