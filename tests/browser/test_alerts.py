"""Alarms in a real browser: they come and go by themselves and can be silenced; the focus stays in place."""

import re

from playwright.sync_api import expect

from tests.browser.axe import findings
from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.engine import until

LONG = 60_000


def test_an_alarm_comes_and_goes_and_keeps_the_focus_while_it_changes(
    site: Site, open_page: OpenPage
) -> None:
    page = open_page("staff", "/alerts/")
    others = [open_page("staff", address) for address in ("/", "/volumes/", "/topics/")]
    present = page.locator("#present")
    site.end("relay")
    try:
        expect(present).to_contain_text("No relay runs", timeout=LONG)
        for other in others:
            expect(other.locator("#alarm-count .count")).to_have_attribute("data-state", "bad", timeout=LONG)
        silence = present.get_by_role("link", name="Silence No relay runs")
        silence.focus()
        page.evaluate(
            "window.changes = 0;"
            "document.addEventListener('live:changed',"
            " (event) => { window.changes += event.target.id === 'present'; })"
        )
        until(lambda: page.evaluate("window.changes") >= 2)
        expect(silence).to_be_focused()
    finally:
        site.start("relay")
    expect(present).not_to_contain_text("No relay runs", timeout=LONG)


def test_an_alarm_is_silenced_with_a_reason_and_the_silence_ended(site: Site, open_page: OpenPage) -> None:
    page, watcher = open_page("staff", "/alerts/"), open_page("watcher", "/alerts/")
    present = page.locator("#present")
    site.end("relay")
    try:
        expect(present).to_contain_text("No relay runs", timeout=LONG)
        expect(watcher.locator("#present")).to_contain_text("No relay runs", timeout=LONG)
        expect(watcher.get_by_role("link", name="Silence")).to_have_count(0)
        present.get_by_role("link", name="Silence No relay runs").click()
        expect(page.locator(".consequence")).to_contain_text("It stays on the page")
        assert not findings(page)
        page.get_by_label("For how long").select_option(label="1 hour")
        page.get_by_role("button", name="Silence", exact=True).click()
        expect(page.get_by_label("Reason")).to_be_focused()  # the browser asks for it, and nothing is sent
        page.get_by_label("Reason").fill("a <b>planned</b> stop")
        page.get_by_role("button", name="Silence", exact=True).click()
        # It stays, for everybody, and who has silenced it until when and why is told.
        for shown in (present, watcher.locator("#present")):
            expect(shown).to_contain_text("No relay runs", timeout=LONG)
            expect(shown).to_contain_text(
                re.compile(r"silenced\s+until \d\d:\d\d:\d\d by staff: a <b>planned</b> stop"), timeout=LONG
            )
        present.get_by_role("link", name="Change the silence No relay runs").click()
        page.get_by_label("For how long").select_option(label="Not any more")
        page.get_by_label("Reason").fill("it takes longer than planned")
        page.get_by_role("button", name="Silence", exact=True).click()
        expect(present.get_by_role("link", name="Silence No relay runs", exact=True)).to_be_visible()
        expect(watcher.locator("#present")).not_to_contain_text("silenced", timeout=LONG)
    finally:
        site.start("relay")
    expect(present).not_to_contain_text("No relay runs", timeout=LONG)
    acts = site.query("SELECT who, via, result, why FROM outbox_act WHERE act = 'silence' ORDER BY id")
    assert acts[-2:] == [
        ("staff", "dashboard", "silenced", "a <b>planned</b> stop"),
        ("staff", "dashboard", "unsilenced", "it takes longer than planned"),
    ]
