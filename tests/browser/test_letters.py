"""Dead letters in a real browser: poisoned events appear, are mended or given up, and what waits runs."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.broken import OPEN, lose, mend, poison
from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.browser.test_flow import LONG, SCREENSHOTS
from tests.engine import until

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def workers(site: Site) -> Iterator[None]:
    for name in ("worker", "beat"):
        site.start(name)
    yield
    for name in ("worker", "beat"):
        site.kill(name)


def letter_of(page: Page, site: Site, consumer: str, payment: str) -> str:
    [[letter_id]] = site.query(
        f"SELECT id FROM outbox_dead_letter WHERE consumer = '{consumer}' AND key = '{payment}'"
    )
    page.goto(f"/dead-letters/{letter_id}/")
    return str(letter_id)


def test_a_poisoned_event_appears_is_corrected_and_what_waited_runs_in_order(
    site: Site, open_page: OpenPage
) -> None:
    page = open_page("staff", "/dead-letters/")
    expect(page.get_by_text("No dead letters")).to_be_visible()
    expect(page.locator("#live")).to_have_attribute("data-state", "ok", timeout=LONG)
    (payment,) = poison(site, payments=1)
    # It comes by itself.
    expect(page.locator("#group-rows tr")).to_have_count(3, timeout=LONG)
    expect(page.locator("#group-rows")).to_contain_text("ContractViolation")
    expect(page.locator("#letter-rows tr")).to_have_count(3)
    expect(page.get_by_text("No dead letters")).to_be_hidden()
    page.get_by_role("link", name="ContractViolation").first.click()
    expect(page.locator("#letter-rows tr")).to_have_count(1)
    page.locator("#letter-rows tr").first.get_by_role("link").click()
    page.wait_for_url(re.compile(r"/dead-letters/[0-9a-f-]{36}/$"))

    letter_of(page, site, "orders", payment)
    expect(page.get_by_text("1 event of its key waits in order behind it.")).to_be_visible()
    expect(page.get_by_role("button", name="Replay, then the 1 behind it")).to_be_visible()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was kept: It died again: ContractViolation")
    data = page.get_by_label("Data for orders alone")
    spoilt = data.input_value()
    data.fill(spoilt.replace("E<b>R", "EUR"))
    page.get_by_role("button", name="Compare and check").click()
    expect(page.locator("del", has_text="E<b>R")).to_be_visible()
    expect(page.locator("ins", has_text='"EUR"')).to_be_visible()
    expect(page.get_by_text("fits", exact=True)).to_be_visible()
    assert not site.query(f"SELECT id FROM orders_order WHERE payment_id = '{payment}'")
    page.get_by_label("Reason").fill("a typing error")
    page.get_by_role("button", name="Replay with this data").click()
    expect(page.get_by_role("status")).to_contain_text(
        "It has been processed with changed data; 1 that waited ran."
    )
    # The order arrived, and then its cancellation.
    [(status, number)] = site.query(
        "SELECT status, progress.number FROM orders_order JOIN outbox_key_progress AS progress"
        f" ON progress.key = payment_id::text AND consumer = 'orders' WHERE payment_id = '{payment}'"
    )
    assert (status, number) == ("cancelled", 3)
    page.goto("/dead-letters/?consumer=orders")
    expect(page.get_by_text("No dead letter is like that")).to_be_visible()
    [(who, via, why)] = site.query("SELECT who, via, why FROM outbox_act ORDER BY id DESC LIMIT 1")
    assert (who, via, why) == ("staff", "dashboard", "a typing error")


def test_data_against_the_contract_is_said_field_by_field(site: Site, open_page: OpenPage) -> None:
    (payment,) = poison(site, payments=1, refunds=False)
    page = open_page("staff", "/dead-letters/", expected=("422",))
    letter_of(page, site, "loyalty", payment)
    data = page.get_by_label("Data for loyalty alone")
    data.fill(data.input_value().replace("1250", '"much"'))
    page.get_by_role("button", name="Compare and check").click()
    contract = page.get_by_role("region", name="Contract")
    expect(contract).to_contain_text("does not fit")
    expect(contract.locator("dt")).to_have_text(["amount_minor", "currency"])
    expect(page.get_by_role("button", name="Replay with this data")).to_have_count(0)


def test_what_is_ticked_stays_ticked_and_is_discarded_with_a_reason(
    site: Site, open_page: OpenPage, workers: None
) -> None:
    poison(site, payments=2)
    page = open_page("staff", "/dead-letters/?consumer=loyalty")
    expect(page.locator("#letter-rows tr")).to_have_count(2)
    for name in ("Replay selected", "Discard selected"):
        expect(page.get_by_role("button", name=name)).to_be_disabled()
    page.locator("#letter-rows input").last.check()
    expect(page.get_by_role("button", name="Replay selected")).to_be_enabled()
    kept = page.locator("#letter-rows input").last.get_attribute("value")
    page.get_by_role("heading", name="Causes").click()  # the box is let go of: rows may be refreshed
    poison(site, payments=1)
    expect(page.locator("#letter-rows tr")).to_have_count(3, timeout=LONG)
    expect(page.locator(f'#letter-rows input[value="{kept}"]')).to_be_checked()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_role("button", name="Discard selected").click()
    expect(page.locator(".consequence")).to_have_text(
        re.compile(r"Discards 1 event of 1 key; 1 waiting event will then run")
    )
    page.get_by_label("Reason").fill("the merchant has gone")
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_role("region", name="Progress")).to_contain_text("done", timeout=LONG)
    expect(page.get_by_role("region", name="Progress")).to_contain_text("1 of 1 letters acted on")
    [(state,)] = site.query(f"SELECT state FROM outbox_dead_letter WHERE id = '{kept}'")
    assert state == "discarded"


def test_all_that_match_are_replayed_though_worker_and_web_are_killed(
    site: Site, open_page: OpenPage
) -> None:
    payments = poison(site, payments=12)
    mend(site)
    page = open_page("staff", "/dead-letters/?consumer=orders", expected=("ERR_", "Failed to", "htmx:"))
    page.get_by_role("link", name="Replay all that match").click()
    expect(page.locator(".consequence")).to_contain_text("Replays 12 events of 12 keys; 12 waiting events")
    page.get_by_label("Reason").fill("mended")
    page.get_by_role("button", name="Replay").click()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("0 of 12 letters acted on")
    stop = page.get_by_role("button", name="Stop after the letter in hand")
    stop.focus()
    for _ in range(2):  # it is replaced every second, and the keyboard stays where it was
        with page.expect_response("**/now/"):
            pass
    expect(stop).to_be_focused()
    acted = "SELECT count(*) FROM outbox_act WHERE act = 'replay' AND why = 'mended' AND result <> 'begun'"
    named = "','".join(payments)
    cancelled = f"SELECT count(*) FROM orders_order WHERE status = 'cancelled' AND payment_id IN ('{named}')"
    site.start("beat")
    try:
        site.start("worker")
        until(lambda: site.query(acted)[0][0] > 0, seconds=60, every=0.01)
        site.kill("worker")
        site.kill("web")  # the browser's page has nobody to ask any more
        site.start("web")
        site.start("worker")
        expect(progress).to_contain_text("12 of 12 letters acted on", timeout=60_000)
        expect(progress).to_contain_text("done", timeout=LONG)
        # After a death a letter is acted on alone: a task goes on with what waits behind its key.
        until(lambda: site.query(cancelled) == [(12,)], seconds=60)
    finally:
        site.kill("worker")
        site.kill("beat")
    assert site.query(f"{acted} AND result = 'replayed'") == [(12,)]
    assert not site.query("SELECT id FROM outbox_parked_key WHERE consumer = 'orders'")


def test_a_letter_is_discarded_on_its_own_page_and_what_waited_runs(site: Site, open_page: OpenPage) -> None:
    (payment,) = poison(site, payments=1)
    page = open_page("staff", "/dead-letters/")
    letter_id = letter_of(page, site, "orders", payment)
    page.get_by_role("link", name="Discard").click()
    expect(page.locator(".consequence")).to_have_text(
        "Discards 1 event of 1 key; 1 waiting event will then run, in order, up to the next failure."
    )
    page.get_by_role("button", name="Discard").click()
    expect(page.get_by_label("Reason")).to_be_focused()  # the browser asks for it, and nothing is sent
    page.get_by_label("Reason").fill("the <b>merchant</b> has gone")
    page.get_by_role("button", name="Discard").click()
    page.wait_for_url(f"**/dead-letters/{letter_id}/")
    expect(page.get_by_role("status").first).to_contain_text("It is discarded")
    expect(page.locator("main")).to_contain_text("the <b>merchant</b> has gone")
    expect(page.get_by_role("link", name="Discard")).to_have_count(0)
    assert site.query(f"SELECT state FROM outbox_dead_letter WHERE id = '{letter_id}'") == [("discarded",)]
    # The refund of an order that never was made has its turn.
    waits = f"SELECT count(*) FROM outbox_waiting_event WHERE consumer = 'orders' AND key = '{payment}'"
    assert site.query(waits) == [(0,)]


def test_a_job_is_stopped_and_says_by_whom(site: Site, open_page: OpenPage) -> None:
    poison(site, payments=2, refunds=False)
    page = open_page("staff", "/dead-letters/?consumer=loyalty")
    page.get_by_role("link", name="Replay all that match").click()
    expect(page.locator(".consequence")).to_contain_text("Replays 2 events of 2 keys")
    page.get_by_role("button", name="Replay").click()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("0 of 2 letters acted on")
    page.get_by_role("button", name="Stop after the letter in hand").click()
    expect(progress).to_contain_text("Stopped by staff")
    expect(page.get_by_role("button", name="Stop after the letter in hand")).to_have_count(0)
    job = site.query("SELECT state, ended_by FROM outbox_repair_job")
    assert job == [("stopped", "staff")]
    assert site.query(f"{OPEN} AND consumer = 'loyalty'") == [(2,)]


def test_a_parked_key_is_released_without_what_is_missing(site: Site, open_page: OpenPage) -> None:
    payment = lose(site)
    page = open_page("staff", f"/dead-letters/parked/?consumer=loyalty&key={payment}", expected=("409",))
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("number 2")
    row.get_by_role("link").first.click()
    expect(page.get_by_role("region", name="What holds it")).to_contain_text("number 2: it goes on by itself")
    page.get_by_role("link", name="Release").click()
    expect(page.locator(".consequence")).to_have_text(
        "Gives up number 2; 1 waiting event will then run, in order."
    )
    # It is another gap by now: nobody was asked about that one.
    other = (
        "UPDATE outbox_waiting_event SET number = {}"
        f" WHERE consumer = 'loyalty' AND key = '{payment}' RETURNING 1"
    )
    site.query(other.format(6))
    page.get_by_label("Reason").fill("lost with the old topic")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("alert")).to_contain_text("numbers 2 to 5 by now, and number 2 was shown")
    site.query(other.format(3))
    page.get_by_role("link", name="Release").click()
    page.get_by_label("Reason").fill("lost with the old topic")
    page.get_by_role("button", name="Release").click()
    page.wait_for_url(lambda url: "/release/" not in url)
    [(act, who, why, detail)] = site.query(
        f"SELECT act, who, why, detail FROM outbox_act WHERE consumer = 'loyalty' AND key = '{payment}'"
    )
    assert (act, who, why) == ("release", "staff", "lost with the old topic")
    assert detail.startswith("It is released without number 2")
    # In another consumer it is ticked in the list, which keeps what is ticked while it is kept up to date.
    page.goto(f"/dead-letters/parked/?consumer=orders&key={payment}")
    expect(page.locator("#live")).to_have_text("live", timeout=LONG)
    page.get_by_label(f"Select key {payment} of orders").check()
    page.get_by_role("button", name="Release selected").click()
    expect(page.locator("main")).to_contain_text("number 2")
    page.get_by_label("Reason").fill("lost as well")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_contain_text("It is released without number 2")


def test_the_lists_of_parked_keys_and_of_jobs_are_kept_up_to_date(site: Site, open_page: OpenPage) -> None:
    (payment,) = poison(site, payments=1)
    parked = open_page("staff", f"/dead-letters/parked/?consumer=orders&key={payment}")
    expect(parked.locator("#live")).to_have_text("live", timeout=LONG)
    expect(parked.locator("#parked-rows tr")).to_have_count(1)
    jobs = open_page("staff", "/dead-letters/jobs/")
    expect(jobs.locator("#live")).to_have_text("live", timeout=LONG)
    before = jobs.locator("#job-rows tr").count()
    page = open_page("staff", f"/dead-letters/?consumer=orders&key={payment}")
    page.get_by_role("link", name="Discard all that match").click()
    page.get_by_label("Reason").fill("a test")
    page.get_by_role("button", name="Discard").click()
    page.wait_for_url("**/dead-letters/jobs/*/")
    expect(jobs.locator("#job-rows tr")).to_have_count(before + 1, timeout=LONG)
    expect(jobs.locator("#job-rows tr").first).to_contain_text("0 of 1")
    site.query("DELETE FROM outbox_parked_key WHERE consumer = 'orders' RETURNING 1")
    expect(parked.locator("#no-parked")).to_contain_text("No such key is parked", timeout=LONG)


def test_on_a_phone_cause_and_error_are_seen_first(site: Site, open_page: OpenPage) -> None:
    poison(site, payments=1, refunds=False)
    page = open_page("staff", "/dead-letters/", width=360)
    filters = page.get_by_role("search").bounding_box()
    assert filters is not None
    assert filters["height"] < 300
    expect(page.locator("#letter-rows tr")).to_have_count(3)
    edges = """["a", ".error"].map((one) => {
        const { left, right } = document.querySelector(`#letter-rows ${one}`).getBoundingClientRect();
        return [left, right];
    })"""
    (_, cause_ends), (error_begins, _) = page.evaluate(edges)
    assert cause_ends < error_begins < 260


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_the_pages_fit_and_have_no_errors(site: Site, open_page: OpenPage, width: int, theme: str) -> None:
    (payment,) = poison(site, payments=1)
    page = open_page("staff", "/dead-letters/", width=width, theme=theme)
    [[parked]] = site.query("SELECT id FROM outbox_parked_key WHERE consumer = 'orders'")
    letter_id = letter_of(page, site, "orders", payment)
    for name, path in {
        "letters": "/dead-letters/",
        "letter": f"/dead-letters/{letter_id}/",
        "letter-discard": f"/dead-letters/{letter_id}/discard/",
        "parked-keys": "/dead-letters/parked/",
        "parked-key": f"/dead-letters/parked/{parked}/",
        "repair-jobs": "/dead-letters/jobs/",
    }.items():
        page.goto(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        if SCREENSHOTS:
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{theme}.png", full_page=True)


def test_without_script_letters_are_ticked_and_replayed(site: Site, open_page: OpenPage) -> None:
    poison(site, payments=1, refunds=False)
    page = open_page("staff", "/dead-letters/?consumer=orders")
    page = open_page("staff", "/dead-letters/?consumer=orders", script=False)
    page.locator("#letter-rows input").first.check()
    page.get_by_role("button", name="Replay selected").click()
    expect(page.locator(".consequence")).to_contain_text("Replays 1 event of 1 key")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("region", name="Progress")).to_contain_text("0 of 1 letters acted on")
