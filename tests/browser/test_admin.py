"""The admin in a real browser: operators act when they were asked, all is written down, viewers look."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.admin import CONSUMERS, KEYS, LETTERS, choose, looked_at, send, written_down
from tests.browser.broken import OPEN, lose, mend, poison
from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.engine import until

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_letter_is_replayed_when_its_page_was_answered_and_only_once(
    site: Site, open_page: OpenPage
) -> None:
    (payment,) = poison(site, payments=1)
    mend(site)
    pages = [open_page("staff", f"{LETTERS}?consumer=orders") for _ in range(2)]
    looked_at(pages[0], "letters")
    for page in pages:
        choose(page, "orders", "Replay, with what waits behind")
        expect(page.get_by_text("Replays 1 event of 1 key; 1 waiting event will then run")).to_be_visible()
        expect(page.get_by_role("region", name="What is acted on")).to_contain_text(payment)
    assert site.query(f"{OPEN} AND consumer = 'orders'") == [(1,)]
    page, late = pages
    send(page, "Replay dead letters", "mended <b>by hand</b>")
    expect(page.get_by_text("It has been processed; 1 that waited ran.")).to_be_visible()
    # Somebody else had the same page before them.
    send(late, "Replay dead letters", "mended as well")
    expect(late.get_by_text("had been dealt with by others")).to_be_visible()
    order = f"SELECT status FROM orders_order WHERE payment_id = '{payment}'"
    assert site.query(order) == [("cancelled",)]
    written_down(page, "staff", "replay", "mended <b>by hand</b>", "replayed")


def test_a_letter_is_corrected_after_what_is_other_was_shown(site: Site, open_page: OpenPage) -> None:
    (payment,) = poison(site, payments=1, refunds=False)
    page = open_page("staff", f"{LETTERS}?consumer=orders")
    choose(page, "orders", "Correct one, and replay it")
    data = page.get_by_label("Data", exact=True)
    spoilt = data.input_value()
    data.fill(spoilt.replace("1250", '"much"'))
    page.get_by_role("button", name="See what it would do").click()
    expect(page.get_by_role("alert")).to_contain_text("amount_minor")
    data.fill(spoilt.replace("E<b>R", "EUR"))
    page.get_by_role("button", name="See what it would do").click()
    shown = page.get_by_role("status")
    expect(shown).to_contain_text('-  "currency": "E<b>R"')
    expect(shown).to_contain_text('+  "currency": "EUR"')
    looked_at(page, "corrected")
    order = f"SELECT status FROM orders_order WHERE payment_id = '{payment}'"
    assert not site.query(order)
    send(page, "Correct and replay a dead letter", "a typing error")
    expect(page.get_by_text("It has been processed with changed data")).to_be_visible()
    assert site.query(order) == [("created",)]
    written_down(page, "staff", "replay", "a typing error", "replayed")


def test_a_parked_key_is_released_without_what_was_shown_and_nothing_else(
    site: Site, open_page: OpenPage
) -> None:
    payment = lose(site)
    page = open_page("staff", f"{KEYS}?q={payment}")
    choose(page, "loyalty", "Release, without the missing events")
    expect(page.get_by_text("Releases 1 key without what is missing; 1 waiting event")).to_be_visible()
    expect(page.get_by_role("region", name="What is acted on")).to_contain_text("number 2")
    page.get_by_role("button", name="Release parked keys").click()
    expect(page.get_by_label("Reason")).to_be_focused()  # the browser asks for it, and nothing is sent
    other = (
        "UPDATE outbox_waiting_event SET number = {}"
        f" WHERE consumer = 'loyalty' AND key = '{payment}' RETURNING 1"
    )
    site.query(other.format(6))
    send(page, "Release parked keys", "lost")
    expect(page.get_by_text("numbers 2 to 5 by now, and number 2 was shown")).to_be_visible()
    site.query(other.format(3))
    choose(page, "loyalty", "Release, without the missing events")
    send(page, "Release parked keys", "lost with the old topic")
    expect(page.get_by_text("It is released without number 2")).to_be_visible()
    parked = f"SELECT id FROM outbox_parked_key WHERE consumer = 'loyalty' AND key = '{payment}'"
    assert not site.query(parked)
    written_down(page, "staff", "release", "lost with the old topic", "It is released without number 2")


def test_a_consumer_is_paused_and_resumed(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff", CONSUMERS)
    looked_at(page, "consumers")
    choose(page, "loyalty", "Pause: process nothing until resumed")
    expect(page.get_by_text("Pauses 1 consumer: within a second nothing is processed")).to_be_visible()
    send(page, "Pause consumers", "wrong rates")
    try:
        expect(page.get_by_text("loyalty: it is paused by staff.")).to_be_visible()
        row = page.locator("#result_list tr", has_text="loyalty")
        expect(row).to_contain_text("wrong rates")
        asked = {"customer_id": "c-paused", "amount": "12.50", "currency": "EUR"}

        def points_of(payment: str) -> list[Any]:
            return site.query(f"SELECT points FROM loyalty_ledgerentry WHERE payment_id = '{payment}'")

        def heard_by_orders() -> str:
            payment: str = site.post("first", "/api/payments/", asked)["id"]
            site.post("first", f"/api/payments/{payment}/validate/", {})
            order = f"SELECT status FROM orders_order WHERE payment_id = '{payment}'"
            until(lambda: site.query(order), seconds=60)
            return payment

        # Its instances notice the pause within a second: the first ones may be processed yet.
        payment = until(lambda: None if points_of(it := heard_by_orders()) else it, seconds=10) or ""
        for _ in range(3):
            assert not points_of(heard_by_orders())
        assert not points_of(payment)
        written_down(page, "staff", "pause", "wrong rates", "paused")
        page.goto(CONSUMERS)
        choose(page, "loyalty", "Resume: go on where they were")
        expect(page.get_by_text("Resumes 1 consumer: what has waited")).to_be_visible()
        expect(page.get_by_role("region", name="What is acted on")).to_contain_text("wrong rates")
        send(page, "Resume consumers", "")
        expect(page.get_by_text("loyalty: it goes on.")).to_be_visible()
        until(lambda: points_of(payment) == [(12,)], seconds=60)
        written_down(page, "staff", "resume", "resumed")
    finally:
        site.post("staff", "/api/consumers/loyalty/resume/", {})


def test_a_viewer_is_offered_no_act_and_one_that_is_forged_is_refused(
    site: Site, open_page: OpenPage
) -> None:
    poison(site, payments=1, refunds=False)
    acts = site.query("SELECT count(*) FROM outbox_act")
    chosen = {
        LETTERS: site.query("SELECT id FROM outbox_dead_letter WHERE consumer = 'orders'")[0][0],
        KEYS: site.query("SELECT id FROM outbox_parked_key WHERE consumer = 'orders'")[0][0],
        CONSUMERS: "orders",
    }
    forged = {
        LETTERS: ("replay", "replay_late", "dry_run", "correct", "discard"),
        KEYS: ("release",),
        CONSUMERS: ("pause", "resume", "seek", "rebuild", "give_up"),
    }
    page = open_page("onlooker", LETTERS)
    for address, names in forged.items():
        page.goto(address)
        expect(page.locator("#result_list tr.data-row").first).to_be_visible()
        expect(page.locator("input.action-select, select[name=action]")).to_have_count(0)
        looked_at(page, f"viewer-{address.split('/')[3]}")
        token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
        for name in names:
            form = {"csrfmiddlewaretoken": token, "action": name, "_selected_action": str(chosen[address])}
            given = {"reason": "r", "given": "{}", "confirmed": "yes"}
            assert page.request.post(address, form={**form, **given}).status == 403, name
    assert site.query("SELECT count(*) FROM outbox_act") == acts
    assert site.query(f"{OPEN} AND consumer = 'orders'") == [(1,)]
