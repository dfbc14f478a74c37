"""Every page of dashboard and admin, with markup planted in all that reaches it: usable, and nothing runs.

The pages are found by walking the URL table.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib import admin
from django.db.models import Model
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from contracts.payments import PaymentValidated
from outbox.registry import all_consumers
from tests.browser.axe import findings
from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.engine import until
from tests.servers import PROJECT
from tests.walking import Route, routes

SHORT, LONG = 5_000, 60_000
NARROWEST = 360
# What is no page: an answer that goes on, one that leads elsewhere, or what must be posted. Those of the demo
# alone are looked at in test_tour.py.
NO_PAGES = {
    *("find", "logout", "payment-command"),
    *("chaos", "chaos-act", "chaos-poison", "tour-now", "tour-pay", "tour-repair"),
}

# Of what Kafka refused, and not of every event.
HELD = {"event-resend", "event-discard"}

# Django's widget of two lists labels the icons of its filters, and unfold's link to change a password within
# its sentence differs in colour alone.
THEMES_OWN = (".help-tooltip", 'a[href="../password/"]')


def run_planted(site: Site, *arguments: str) -> str:
    command = [sys.executable, "-m", "tests.planted", *arguments]
    done = subprocess.run(
        command, cwd=PROJECT, env=site.environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def things(site: Site) -> Iterator[dict[str, str]]:
    """What stands in the addresses. What is planted stops a consumer; it goes on when this is over."""
    planted = json.loads(run_planted(site).splitlines()[-1])
    # What is only said to be wrong ends with the next look; what is wrong stays.
    wrong = "SELECT id FROM outbox_alarm WHERE cause = 'dead_letters' AND ended_at IS NULL"
    [(alarm_id,), *_] = until(lambda: site.query(wrong))
    # Whoever reads payments has found what is broken: nothing of it comes once it is taken away.
    died = f"SELECT count(*) FROM outbox_dead_letter WHERE event_id = '{planted['broken_event_id']}'"
    readers = [one for one in all_consumers() if PaymentValidated.type in one.routes]
    until(lambda: site.query(died) == [(len(readers),)])
    yield {**planted, "alarm_id": str(alarm_id)}
    run_planted(site, "away")


def pages() -> list[Route]:
    return [route for route in routes() if not route.is_stream and route.name not in NO_PAGES]


def overflow(page: Page) -> list[str]:
    """What reaches beyond the window, if the page is wider than it."""
    found: list[str] = page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll("body *:not(.scroll *)")]
                .filter(one => one.getBoundingClientRect().right > innerWidth)
                .map(one => one.outerHTML.slice(0, 200))"""
    )
    return found


def settled(page: Page) -> None:
    """A page with a stream has its figures."""
    if page.locator("#live").count():
        expect(page.locator("#live")).to_have_text("live", timeout=LONG)


@pytest.mark.parametrize("route", pages(), ids=lambda route: str(route.name))
def test_it_can_be_used_by_everyone_and_runs_nothing(
    route: Route, things: dict[str, str], open_page: OpenPage
) -> None:
    page = open_page(None if route.name == "login" else "staff", "/volumes/")
    wrong: list[Any] = []
    if route.name == "release-parked-key":
        things = {**things, "parked_id": things["gap_id"]}
    chosen = [things]
    if route.name not in HELD:
        chosen += [pending(things), broken(things)]
        chosen += [{**things, "payment_id": things[name]} for name in ("rejected_id", "ordered_id")]
    for address in sorted({route.address(each) for each in chosen}):
        asked = page.request.get(address)
        if asked.status == 405 or (asked.ok and not asked.text().startswith("<!doctype html>")):
            continue  # what must be posted, and a part of a page, which its page shows
        if urlsplit(asked.url).path != address:
            continue  # it leads to the page that has its form
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, f"{address}: tests/planted.py must name {route.placeholders}"
        settled(page)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 900})
                wrong += [(address, theme, width, found) for found in findings(page)]
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        with suppress(PlaywrightTimeout):  # charts are drawn anew
            page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=SHORT)
        if beyond := overflow(page):
            wrong.append((address, f"wider than {NARROWEST} px", beyond))
        assert page.evaluate("typeof window.owned") == "undefined", address
        assert page.locator("script:not([src])").count() == 0, address
    assert not wrong, "\n".join(map(str, wrong))


def pending(things: dict[str, str]) -> dict[str, str]:
    """Another payment, to which other things may be done."""
    return {**things, "payment_id": things["pending_id"], "event_id": things["validated_event_id"]}


def broken(things: dict[str, str]) -> dict[str, str]:
    """An event that real consumers could not process."""
    return {**things, "event_id": things["broken_event_id"]}


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=str), ids=lambda one: one._meta.label)
def test_the_admin_can_be_used_and_runs_nothing(
    model: type[Model], things: dict[str, str], open_page: OpenPage
) -> None:
    """Each list, which has rows, and the page of its first row."""
    address = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    page = open_page("root", address)
    wrong: list[Any] = []
    rows = page.locator("#result_list tr.data-row")

    def is_filled() -> bool:
        page.goto(address)
        return rows.count() > 0

    until(is_filled)  # what consumers make of what is planted comes a little later

    def look(theme: str) -> None:
        assert page.evaluate("typeof window.owned") == "undefined", page.url
        assert page.evaluate("document.documentElement.classList.contains('dark')") == (theme == "dark")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            wrong.extend((page.url, theme, width, found) for found in findings(page, others=THEMES_OWN))

    for theme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.goto(address)
        expect(rows.first).to_be_visible()
        look(theme)
        if admin.site._registry[model].list_display_links is not None:  # its rows have pages of their own
            page.goto(str(rows.locator(f'a[href^="{address}"]').first.get_attribute("href")))
            assert page.url.endswith("/change/"), page.url
            look(theme)
    assert not wrong, "\n".join(map(str, wrong))


def test_a_token_has_a_page_and_is_in_no_address(site: Site, open_page: OpenPage) -> None:
    """Addresses are kept by browsers and in logs."""
    page = open_page("root", "/admin/authtoken/tokenproxy/")
    row = page.locator("#result_list tr.data-row", has=page.get_by_text("watcher", exact=True))
    expect(row).to_have_count(1)
    for _, token in site.users.values():
        assert token not in page.content()
    row.get_by_role("link").first.click()
    page.wait_for_url(f"**/{site.users['watcher'][0]}/change/")
    expect(page.locator("main, #content").first).to_contain_text("watcher")
