"""Alarms in a real browser: they come and go by themselves, and the keyboard stays where it was."""

from playwright.sync_api import expect

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
