"""The events pages in a browser: a tail that pauses, filters in the address, one event's time and tree."""

import re
from urllib.parse import parse_qs, urlsplit

import psycopg
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.browser.test_flow import LONG, SCREENSHOTS
from tests.engine import until

PLANTED = "<script>owned=1</script><img src=x onerror=owned=1>"


def request_payment(site: Site, customer: str = "c-events") -> str:
    body = {"customer_id": customer, "amount": "12.50", "currency": "EUR"}
    return str(site.post("first", "/api/payments/", body)["id"])


def validated(site: Site) -> str:
    """A payment that has been validated, and all that follows has come in."""
    payment_id = request_payment(site)
    event_id = site.post("first", f"/api/payments/{payment_id}/validate/", {})["event_id"]
    done = f"SELECT count(*) FROM outbox_inbox WHERE event_id = '{event_id}' AND outcome = 'processed'"
    until(lambda: site.query(done) == [(3,)], seconds=60)
    return payment_id


def live(page: Page) -> None:
    expect(page.locator("#live")).to_have_text("live", timeout=LONG)


def away(page: Page) -> None:
    page.mouse.move(5, 5)


def test_new_events_come_in_and_wait_while_the_table_is_pointed_at(site: Site, open_page: OpenPage) -> None:
    request_payment(site)
    page = open_page("watcher", "/events/")
    live(page)
    first = request_payment(site)
    row = page.locator(f'#rows tr:has([data-copy="{first}"])')
    expect(row).to_be_visible(timeout=LONG)
    # What becomes of it is seen, too.
    expect(row).to_contain_text("payments/", timeout=LONG)
    page.locator("#rows tr").nth(0).hover()
    tail = page.locator("#tail")
    expect(tail).to_have_text("paused: 0 new")
    second = request_payment(site)
    expect(tail).to_have_text("paused: 1 new", timeout=LONG)
    assert page.locator(f'#rows [data-copy="{second}"]').count() == 0
    away(page)
    expect(page.locator(f'#rows [data-copy="{second}"]')).to_be_visible(timeout=LONG)
    expect(tail).to_be_hidden()
    # The switch holds it as well, wherever the pointer is.
    page.get_by_role("button", name="Pause", exact=True).click()
    away(page)
    third = request_payment(site)
    expect(tail).to_have_text("paused: 1 new", timeout=LONG)
    page.get_by_role("button", name="Follow").click()
    expect(page.locator(f'#rows [data-copy="{third}"]')).to_be_visible(timeout=LONG)
    # So does the keyboard's place in it.
    page.locator("h1").click()
    page.keyboard.press("j")
    fourth = request_payment(site)
    expect(tail).to_have_text("paused: 1 new", timeout=LONG)
    target = page.locator("#rows tr[aria-selected=true]").get_attribute("data-href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{target}")
    page.go_back()
    expect(page.locator(f'#rows [data-copy="{fourth}"]')).to_be_visible(timeout=LONG)


def test_filters_stay_in_the_address_and_hold_for_what_comes_in(site: Site, open_page: OpenPage) -> None:
    payment_id = validated(site)
    page = open_page("watcher", "/events/", expected=("400",))
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type(payment_id)
    page.keyboard.press("Enter")
    page.wait_for_url("**/events/?q=**")
    expect(page.locator("#rows tr")).to_have_count(2)
    page.get_by_label("Find").fill("")
    page.get_by_label("Type").select_option("payments.PaymentValidated.v1")
    page.get_by_label("State").select_option(label="processed in orders")
    page.get_by_role("button", name="Filter").click()
    live(page)
    asked = parse_qs(urlsplit(page.url).query)
    assert asked["type"] == ["payments.PaymentValidated.v1"]
    assert asked["state"] == ["orders:processed"]
    expect(page.get_by_label("State")).to_have_value("orders:processed")
    away(page)
    other = validated(site)
    expect(page.locator(f'#rows [data-copy="{other}"]')).to_have_count(1, timeout=LONG)
    assert set(page.locator("#rows tr td:nth-child(2)").all_inner_texts()) == {"PaymentValidated"}
    # An hour that is over brings nothing new, and says so.
    page.goto("/events/?from=2026-01-01T00:00&to=2026-01-01T01:00")
    expect(page.get_by_text("not live")).to_be_visible()
    expect(page.get_by_text("No event is like that")).to_be_visible()
    expect(page.get_by_label("Written from")).to_have_value("2026-01-01T00:00")
    page.goto(f"/events/?q={PLANTED}&type={PLANTED}")
    assert page.evaluate("typeof owned") == "undefined"
    page.goto("/events/?state=lost")
    expect(page.get_by_role("alert")).to_contain_text("state")


def test_one_events_page_has_its_times_and_its_tree(site: Site, open_page: OpenPage) -> None:
    payment_id = validated(site)
    page = open_page("watcher", f"/events/?q={payment_id}")
    page.locator("#rows").get_by_role("link", name="PaymentValidated").click()
    waits = page.get_by_role("region", name="Waits")
    for consumer in ("analytics", "loyalty", "orders"):
        line = waits.locator("li", has_text=consumer)
        for where in ("in the outbox", "in Kafka", "in the consumer"):
            expect(line.locator(".split")).to_contain_text(where)
        assert line.locator("rect[width]").count() >= 3
    tree = page.get_by_role("region", name="Story")
    expect(tree.locator("[aria-current=true]")).to_have_text("PaymentValidated")
    # What followed is below it.
    below = tree.locator("li:has(> p > [aria-current=true]) ul")
    expect(below).to_contain_text("OrderCreated")
    expect(below).to_contain_text("PointsEarned")
    page.get_by_text("As it is sent").click()
    expect(page.locator("details pre")).to_contain_text(f'"payment_id":"{payment_id}"')
    page.get_by_role("link", name="Payment 12.50 EUR").click()
    page.wait_for_url(f"**/payments/{payment_id}/")


def test_an_events_page_is_kept_up_to_date(site: Site, open_page: OpenPage) -> None:
    site.end("loyalty")
    try:
        payment_id = request_payment(site)
        event_id = site.post("first", f"/api/payments/{payment_id}/validate/", {})["event_id"]
        page = open_page("watcher", f"/events/{event_id}/")
        live(page)
        way = page.get_by_role("region", name="Waits").locator("li", has_text="loyalty")
        expect(way).to_contain_text("pending")
        expect(way).to_contain_text("so far")
        expect(page.get_by_role("region", name="Story")).not_to_contain_text("PointsEarned")
    finally:
        site.start("loyalty")
    # Without being loaded again.
    expect(way).to_contain_text("processed", timeout=LONG)
    expect(way).not_to_contain_text("so far")
    expect(way).to_contain_text("in the consumer")
    expect(page.get_by_role("region", name="Story")).to_contain_text("PointsEarned", timeout=LONG)


def test_a_server_that_goes_away_is_said_and_found_again(site: Site, open_page: OpenPage) -> None:
    page = open_page("watcher", "/events/", expected=("ERR_", "Failed to load"))
    live(page)
    site.end("web")
    try:
        expect(page.locator("#live")).to_have_text("no live figures", timeout=LONG)
        assert re.search(r"The figures are from \d\d:\d\d:\d\d", page.locator("#notices").inner_text())
        expect(page.locator("#rows")).to_have_attribute("data-stale", "true")
    finally:
        site.start("web")
    live(page)
    expect(page.locator("#notices")).to_be_empty()
    payment_id = request_payment(site)
    expect(page.locator(f'#rows [data-copy="{payment_id}"]')).to_be_visible(timeout=LONG)


def test_it_reads_without_script_and_fits_a_phone(site: Site, open_page: OpenPage) -> None:
    """Leaves screenshots in test-results/ to be looked at."""
    payment_id = validated(site)
    page = open_page("watcher", f"/events/?q={payment_id}", width=390, theme="dark")
    SCREENSHOTS.mkdir(exist_ok=True)
    for name, path in (("events", "/events/"), ("event", None)):
        if path is None:
            page.locator("#rows").get_by_role("link").first.click()
            page.get_by_role("region", name="Waits").wait_for()
        else:
            page.goto(path)
        page.screenshot(path=SCREENSHOTS / f"{name}-page-dark-390.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    plain = open_page("watcher", f"/events/?q={payment_id}", script=False)
    expect(plain.locator("#rows tr")).to_have_count(2)
    expect(plain.get_by_role("button", name="Pause", exact=True)).to_be_hidden()


def spoil(site: Site, event_id: str, payload: str) -> None:
    """Write an event's data anew, past the trigger that refuses that."""
    with psycopg.connect(site.stack.database_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"UPDATE outbox_event SET payload = {payload} WHERE id = '{event_id}'".encode())


def refused(site: Site) -> str:
    """An event that Kafka finds too large; its id."""
    site.end("relay")
    payment_id = request_payment(site)
    event_id = str(site.post("first", f"/api/payments/{payment_id}/validate/", {})["event_id"])
    spoil(site, event_id, "payload || convert_to(repeat(' ', 3000000), 'UTF8')")
    site.start("relay")
    held = f"SELECT count(*) FROM outbox_refusal WHERE event_id = '{event_id}'"
    until(lambda: site.query(held) == [(1,)], seconds=60)
    return event_id


def test_what_kafka_refused_is_sent_again_once_it_can_be(site: Site, open_page: OpenPage) -> None:
    event_id = refused(site)
    page = open_page("staff", f"/events/{event_id}/")
    expect(page.locator("main")).to_contain_text("Kafka has not got it since")
    page.get_by_role("link", name="Send it again").click()
    expect(page.locator(".consequence")).to_contain_text("It goes to Kafka once more, then 0 events held")
    spoil(site, event_id, "convert_to(trim(convert_from(payload, 'UTF8')), 'UTF8')")
    page.get_by_label("Reason").fill("there is <b>room</b> now")
    page.get_by_role("button", name="Send it again").click()
    page.wait_for_url(f"**/events/{event_id}/")
    done = f"SELECT count(*) FROM outbox_inbox WHERE event_id = '{event_id}' AND outcome = 'processed'"
    until(lambda: site.query(done) == [(3,)], seconds=60)
    page.reload()
    expect(page.locator("main")).not_to_contain_text("Kafka has not got it")
    acts = site.query(f"SELECT act, result, who, why FROM outbox_act WHERE event_id = '{event_id}'")
    assert acts == [("resend", "asked", "staff", "there is <b>room</b> now")]


def test_what_kafka_refused_is_discarded_and_a_placeholder_goes_out(site: Site, open_page: OpenPage) -> None:
    event_id = refused(site)
    page = open_page("staff", f"/events/{event_id}/")
    page.get_by_role("link", name="Discard it").click()
    expect(page.locator(".consequence")).to_contain_text("It will never be sent. A placeholder")
    page.get_by_label("Reason").fill("too large for any reader")
    page.get_by_role("button", name="Discard it").click()
    page.wait_for_url(f"**/events/{event_id}/")
    passed = f"SELECT DISTINCT outcome FROM outbox_inbox WHERE event_id = '{event_id}'"
    until(lambda: site.query(passed) == [("unhandled",)], seconds=60)
    page.reload()
    expect(page.locator("main")).not_to_contain_text("Kafka has not got it")
    acts = site.query(f"SELECT act, result, who, why FROM outbox_act WHERE event_id = '{event_id}'")
    assert acts == [("discard", "asked", "staff", "too large for any reader")]
