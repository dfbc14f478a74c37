"""Payments in a real browser: every command by its form, and its consequences coming in by themselves."""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.browser.test_flow import LONG, SCREENSHOTS
from tests.engine import until

PLANTED = "<script>owned=1</script><img src=x onerror=owned=1>"


def create(page: Page, *, customer: str = "c-1", amount: str = "12.50") -> str:
    """A payment that is left pending, by the form of the list; the page is then the payment's."""
    page.goto("/payments/")
    page.get_by_label("Customer, by").fill(customer)
    page.get_by_label("Amount").fill(amount)
    page.get_by_role("button", name="Create only").click()
    page.wait_for_url(re.compile(r"/payments/[0-9a-f-]{36}/$"))
    return page.url.split("/")[-2]


def ask(page: Page, command: str, **fields: str) -> None:
    """Open a command's form, fill it in and send it."""
    form = page.locator(f"#command-{command}")
    if form.get_attribute("open") is None:
        form.locator("summary").click()
    for label, text in fields.items():
        form.get_by_label(label.replace("_", " ")).fill(text)
    form.locator("button.do").click()


def status(page: Page, word: str) -> None:
    expect(page.locator("#payment-status")).to_have_text(word, timeout=LONG)


def over(page: Page) -> None:
    """All has come in, and the page has stopped asking all the time."""
    expect(page.locator("#timeline")).to_have_attribute("data-over", "true", timeout=LONG)
    assert "load" not in (page.locator("#timeline").get_attribute("hx-trigger") or "")


def drawn(page: Page) -> list[str]:
    return page.locator(".drawing .box text:not(.after)").all_text_contents()


def validated(page: Page, **given: str) -> str:
    payment_id = create(page, **given)
    ask(page, "validate")
    status(page, "validated")
    over(page)
    return payment_id


def test_a_payment_is_validated_and_refunded_before_the_eyes(site: Site, open_page: OpenPage) -> None:
    page = open_page("first")
    payment_id = create(page, customer="c-refund")
    assert drawn(page) == ["PaymentRequested"]
    ask(page, "validate")
    status(page, "validated")
    over(page)
    assert set(drawn(page)[2:]) == {"OrderCreated", "PointsEarned"}
    refund = page.locator("#command-refund")
    refund.locator("summary").click()
    expect(refund).to_contain_text("Refunds 12.50 EUR to customer c-refund, cancels order")
    expect(refund).to_contain_text("takes back 12 points")
    ask(page, "refund", Reason="damaged")
    status(page, "refunded")
    over(page)
    assert set(drawn(page)[5:]) == {"OrderCancelled", "PointsReversed"}
    expect(page.locator("#commands")).to_contain_text("Nothing can be asked of it any more", timeout=LONG)
    expect(page.locator("#facts")).to_contain_text("damaged")
    expect(page.locator("#facts")).to_contain_text("its payment was refunded")
    assert page.locator("#entries tbody tr").count() == 7
    [(orders,)] = site.query(f"SELECT status FROM orders_order WHERE payment_id = '{payment_id}'")
    assert orders == "cancelled"
    # Those who run the system get from the drawing to an event; its merchant is shown no more than this.
    assert page.locator(".drawing a").count() == page.locator("#entries a").count() == 0
    viewer = open_page("watcher", page.url)
    viewer.locator(".drawing a", has_text="OrderCancelled").click()
    expect(viewer.get_by_role("heading", level=1)).to_have_text("OrderCancelled")


def test_a_payment_is_rejected(open_page: OpenPage) -> None:
    page = open_page("first")
    create(page)
    ask(page, "reject", Reason=PLANTED)
    status(page, "rejected")
    over(page)
    expect(page.locator("#facts")).to_contain_text(PLANTED)
    assert page.evaluate("typeof owned") == "undefined"


def test_an_order_is_changed_and_cancelled(open_page: OpenPage) -> None:
    page = open_page("first", expected=("422",))
    validated(page, customer="c-order")
    form = page.locator("#command-modify")
    form.locator("summary").click()
    form.get_by_label("Article of line 1").fill(f"tea {PLANTED}")
    form.get_by_label("Quantity of line 1").fill("2")
    form.get_by_label("Price of one in line 1").fill("6")
    expect(form.locator("[data-sum]")).to_have_text("12.00 EUR: 0.50 EUR missing")
    form.get_by_label("Shipping address").fill(f"Street 1\n{PLANTED}")
    form.locator("button.do").click()
    expect(form.locator("[role=alert]")).to_contain_text("The lines add up to 12.00 EUR")
    expect(form.get_by_label("Article of line 1")).to_be_visible()
    expect(form.get_by_label("Article of line 1")).to_have_value(f"tea {PLANTED}")
    form.get_by_role("button", name="Add a line").click()
    page.keyboard.type("cup")
    page.keyboard.press("Tab")
    page.keyboard.type("1")
    page.keyboard.press("Tab")
    page.keyboard.type("0.50")
    expect(form.locator("[data-sum]")).to_have_text("12.50 EUR, as before")
    form.locator("button.do").click()
    expect(page.locator("#facts .lines tbody tr")).to_have_count(2, timeout=LONG)
    expect(page.locator("#facts")).to_contain_text(PLANTED)
    assert page.evaluate("typeof owned") == "undefined"
    over(page)
    ask(page, "cancel", Reason="changed my mind")
    # The cancellation is the command; the refund and the points follow by themselves.
    status(page, "refunded")
    over(page)
    assert drawn(page)[-3:] == ["OrderCancelled", "PaymentRefunded", "PointsReversed"]
    expect(page.locator("#facts")).to_contain_text("its order was cancelled")


def test_a_payment_of_lines_says_what_they_come_to(open_page: OpenPage) -> None:
    page = open_page("first", "/payments/")
    make = page.locator("#make")
    make.locator("summary").click()
    make.get_by_label("Article of line 1").fill("tea")
    make.get_by_label("Quantity of line 1").fill("3")
    expect(make.locator("[data-sum]")).to_have_text("a line is not complete")
    make.get_by_label("Price of one in line 1").fill("0.125")
    expect(make.locator("[data-sum]")).to_have_text("a line is not complete")
    make.get_by_label("Currency").fill("bhd")
    expect(make.locator("[data-sum]")).to_have_text("0.375 BHD")
    expect(make.get_by_label("Amount")).to_have_value("0.375")
    make.get_by_role("button", name="Create only").click()
    page.wait_for_url(re.compile(r"/payments/[0-9a-f-]{36}/$"))
    expect(page.locator("#facts .lines tbody tr")).to_have_count(1)


def test_what_others_did_meanwhile_is_said_and_shown(open_page: OpenPage) -> None:
    page = open_page("first", expected=("409",))
    create(page)
    other = page.context.new_page()
    other.goto(page.url)
    ask(other, "reject", Reason="first come")
    status(other, "rejected")
    ask(page, "validate")
    expect(page.locator("[role=alert]")).to_contain_text(
        "is rejected; only a pending payment can be validated"
    )
    status(page, "rejected")


def test_a_click_too_many_sends_nothing_twice(site: Site, open_page: OpenPage) -> None:
    page = open_page("first")
    payment_id = create(page)
    page.locator("#command-validate button.do").dblclick()
    status(page, "validated")
    over(page)
    expect(page.locator("[role=alert]")).to_have_count(0)
    [(events,)] = site.query(f"SELECT count(*) FROM outbox_event WHERE key = '{payment_id}'")
    assert events == 2


def test_it_works_without_a_script(site: Site, open_page: OpenPage) -> None:
    page = open_page("first", script=False)
    payment_id = create(page, customer="c-plain")
    page.locator("#command-validate button.do").click()
    page.wait_for_url(f"**/payments/{payment_id}/")
    assert page.locator("#payment-status").inner_text() == "validated"
    until(lambda: site.query(f"SELECT 1 FROM orders_order WHERE payment_id = '{payment_id}'"), seconds=60)
    page.reload()
    form = page.locator("#command-modify")
    form.locator("summary").click()
    form.get_by_label("Article of line 2").fill("tea")
    form.get_by_label("Quantity of line 2").fill("1")
    form.get_by_label("Price of one in line 2").fill("12.5")
    form.locator("button.do").click()
    expect(page.locator("#facts .lines tbody tr")).to_have_count(1)
    cancel = page.locator("#command-cancel")
    cancel.locator("summary").click()
    cancel.get_by_label("Reason").fill("by hand")
    cancel.locator("button.do").click()
    expect(page.locator("#facts")).to_contain_text("by hand")


def test_watchers_are_offered_nothing_and_operators_everything(open_page: OpenPage) -> None:
    page = open_page("second")
    validated(page, customer="c-roles")
    address = page.url
    watcher = open_page("watcher", address)
    expect(watcher.locator("#commands")).to_contain_text("may look, not act")
    assert watcher.locator("form.form").count() == 0
    operator = open_page("staff", address)
    ask(operator, "refund", Reason="for them")
    status(operator, "refunded")


def test_the_list_is_filtered_and_worked_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("staff")
    for _ in range(2):
        create(page, customer="c-list", amount="7.77")
    page.goto("/payments/")
    page.get_by_role("search", name="Filter the payments").get_by_label("Customer").fill("c-list")
    page.get_by_role("search", name="Filter the payments").get_by_label("Status").select_option("pending")
    page.get_by_role("button", name="Filter").click()
    assert "customer=c-list" in page.url
    rows = page.locator("#payments tbody tr")
    expect(rows).to_have_count(2)
    target = rows.nth(1).get_attribute("data-href")
    page.locator("h1").click()
    for key in ("j", "j", "Enter"):
        page.keyboard.press(key)
    page.wait_for_url(f"**{target}")
    # An event of the timeline likewise.
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/events/*/")


def volume(page: Page, status: str) -> tuple[int, Decimal]:
    """What the latest slot has in KWD, so far or closed."""
    row = page.locator(f'#volumes tr[data-currency="KWD"][data-status="{status}"]').first
    expect(row).to_be_visible(timeout=LONG)
    shown = row.get_attribute("data-count"), row.get_attribute("data-amount")
    return int(shown[0] or 0), Decimal(shown[1] or 0)


def pay_in_dinars(site: Site, user: str, amount: str) -> None:
    site.post(user, "/api/payments/", {"customer_id": "c-vol", "amount": amount, "currency": "KWD"})


def test_volumes_grow_before_the_eyes_and_closed_slots_come_from_kafka(
    site: Site, open_page: OpenPage
) -> None:
    everyone, own = open_page("staff", "/volumes/"), open_page("first", "/volumes/?slot=1d")
    for page in (everyone, own):
        expect(page.locator("#live")).to_have_text("live", timeout=LONG)
    pay_in_dinars(site, "first", "1.250")
    pay_in_dinars(site, "second", "2.500")
    until(lambda: volume(own, "pending") == (1, Decimal("1.250")), seconds=60)
    expect(everyone.locator('[data-panel="KWD"] canvas').first).to_be_visible(timeout=LONG)
    expect(everyone.locator('#volumes tr[data-open="true"]').first).to_contain_text("so far")
    # A slot is totalled: what its total says is what is shown, though the table says otherwise.
    site.manage("shell", "--verbosity", "0", "--command", TOTAL)
    row = everyone.locator('#volumes tr[data-currency="OMR"]')
    expect(row).to_have_count(1, timeout=LONG)
    expect(row).to_contain_text("4.321")
    expect(row).not_to_contain_text("so far")
    expect(everyone.locator('[data-panel="OMR"] canvas').first).to_be_visible()
    assert own.locator('#volumes tr[data-currency="OMR"]').count() == 0


TOTAL = """
from datetime import UTC, datetime, timedelta
from django.db import transaction
from contracts.analytics import SlotTotalled, StatusTotal
from outbox import publish
start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
totals = (StatusTotal(status="validated", count=3, amount_minor=4321),)
with transaction.atomic():
    publish(SlotTotalled(slot="1m", slot_start=start, currency="OMR", totals=totals))
"""


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1360, "dark"), (1920, "light")])
def test_payment_pages_fit_their_window(site: Site, open_page: OpenPage, theme: str, width: int) -> None:
    """Leaves screenshots in test-results/ to be looked at."""
    page = open_page("first", "/payments/", width=width, theme=theme)

    def looked_at(name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    looked_at("payments")
    validated(page, customer="c-looks")
    page.locator("#command-modify summary").click()
    looked_at("payment")
    page.goto("/volumes/")
    expect(page.locator("#charts canvas").first).to_be_visible(timeout=LONG)
    looked_at("volumes")
