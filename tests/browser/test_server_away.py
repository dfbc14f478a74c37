"""Every page whose figures move: a server that says nothing more is shown as such, and found again.

The pages' streams are found by walking the URL table.
"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.browser.test_flow import LONG, live, notice
from tests.walking import routes

PAGES = {
    "flow-stream": "/",
    "events-stream": "/events/",
    "event-stream": "/events/{event}/",
    "letters-stream": "/dead-letters/",
    "parked-keys-stream": "/dead-letters/parked/",
    "repair-jobs-stream": "/dead-letters/jobs/",
    "consumers-stream": "/consumers/",
    "consumer-stream": "/consumers/orders/",
    "topics-stream": "/topics/",
    "topic-stream": "/topics/payments/",
    "alerts-stream": "/alerts/",
    "volumes-stream": "/volumes/",
}
# Of the demo alone: test_tour.py.
ELSEWHERE = {"chaos-stream"}
# What comes from a stream: as most pages mark it, and what volumes and the flow draw from theirs.
MOVING = "[data-region], #charts, .pipeline"


def test_no_page_with_a_stream_is_forgotten() -> None:
    assert {route.name for route in routes() if route.is_stream} == PAGES.keys() | ELSEWHERE


@pytest.mark.parametrize("address", PAGES.values())
def test_a_server_that_freezes_is_shown_and_found_again(
    site: Site, open_page: OpenPage, address: str
) -> None:
    if "{event}" in address:
        body = {"customer_id": "c-away", "amount": "12.50", "currency": "EUR"}
        payment_id = site.post("first", "/api/payments/", body)["id"]
        event_id = site.post("first", f"/api/payments/{payment_id}/validate/", {})["event_id"]
        address = address.format(event=event_id)
    page = open_page("staff", address, expected=("ERR_", "Failed to load"))
    live(page)
    moving, old = page.locator(MOVING), page.locator('[data-stale="true"]')
    expect(old).to_have_count(0)
    # The connection stays, and nothing comes: the browser itself sees no error.
    site.freeze("web")
    try:
        expect(page.locator("#live")).to_have_text("no live figures", timeout=LONG)
        expect(page.locator("#live")).to_have_attribute("data-state", "bad")
        assert re.search(r"The server does not answer.*figures are from \d\d:\d\d:\d\d", notice(page))
        assert moving.count() > 0
        expect(old).to_have_count(moving.count())
    finally:
        site.thaw("web")
    live(page)
    expect(page.locator("#live")).to_have_attribute("data-state", "ok")
    expect(page.locator("#notices")).to_be_empty()
    expect(old).to_have_count(0)
