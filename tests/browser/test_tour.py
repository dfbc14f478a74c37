"""The guided tour and the chaos panel in a browser, in a real demo: broken, seen on the flow, found again."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.demo.running import RunningDemo
from tests.browser.axe import findings
from tests.browser.test_flow import SCREENSHOTS, live
from tests.engine import until

LONG = 60_000
OpenDemo = Callable[..., Page]


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    parent = Path(tempfile.mkdtemp(prefix="es-tour-"))
    try:
        demo = RunningDemo(parent / "stack")
        yield demo
        assert demo.end() == 0
        assert demo.left() == []
    finally:
        shutil.rmtree(parent)


@pytest.fixture(scope="module")
def cookies() -> list[Any]:
    """Of whoever has signed in, once for all tests."""
    return []


@pytest.fixture
def open_demo(demo: RunningDemo, browser: Browser, cookies: list[Any]) -> Iterator[OpenDemo]:
    """Opens a page of the demo, signed in as its staff. A page's errors fail its test, unless expected."""
    errors: list[str] = []
    contexts = []

    def open_page(
        path: str = "/",
        *,
        width: int = 1440,
        theme: str = "light",
        script: bool = True,
        expected: tuple[str, ...] = (),
    ) -> Page:
        told = demo.read()
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if theme == "dark" else "light",
            base_url=told["url"],
            java_script_enabled=script,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONG)

        def note(text: str) -> None:
            if not any(part in text for part in expected):
                errors.append(text)

        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error)))
        context.add_cookies(cookies)
        page.goto(path)
        if "/login/" in page.url:
            page.get_by_label("User name").fill(told["staff"]["username"])
            page.get_by_label("Password").fill(told["staff"]["password"])
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(lambda url: "/login/" not in url)
            cookies[:] = [one for one in context.cookies() if one.get("name") != "tour"]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors, errors


def looked_at(page: Page, name: str, width: int) -> None:
    """Leaves a screenshot in test-results/ to be looked at; nothing on the page keeps anyone out."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not findings(page)


def all_seen(page: Page) -> None:
    """Every goal of the step has been reached, and is said to be; without loading the page again."""
    expect(page.locator("#tour-next.main")).to_be_visible(timeout=LONG)
    expect(page.locator('#tour .step[data-state="ok"]').first).to_be_visible()
    expect(page.locator('#tour .step:not([data-state="ok"])')).to_have_count(0)


def go_on(page: Page, number: int) -> None:
    page.locator("#tour-next").click()
    expect(page.locator("#tour h2")).to_contain_text(f"Tour {number} of 5")


def test_a_newcomer_walks_through_all_five_steps(open_demo: OpenDemo, demo: RunningDemo) -> None:
    page = open_demo()
    page.get_by_role("link", name="Take the tour").click()
    page.get_by_role("button", name="Pay 12.50 EUR").click()
    all_seen(page)
    live(page)
    looked_at(page, "tour-1", 1440)

    go_on(page, 2)
    page.get_by_role("button", name="Stop loyalty").click()
    page.get_by_role("button", name="Pay 12.50 EUR").click()
    all_seen(page)
    lane = page.locator('[data-lane="loyalty"]')
    expect(lane).to_contain_text("not running")
    expect(lane).to_have_attribute("data-state", "bad")
    expect(lane.get_by_role("link", name="Start it")).to_have_attribute("href", "/chaos/#part-loyalty-1")
    assert "loyalty-1" not in demo.read()["processes"]
    looked_at(page, "tour-2", 1440)

    go_on(page, 3)
    all_seen(page)
    expect(page.locator("#tour")).to_contain_text("limit 5 s")
    live(page)
    expect(lane.locator('[data-figure="delay"]')).to_have_attribute("data-beyond", "true")
    expect(page.locator('[data-lane="orders"]')).to_have_attribute("data-state", "ok", timeout=LONG)
    looked_at(page, "tour-3", 1440)

    go_on(page, 4)
    page.get_by_role("button", name="Start loyalty").click()
    all_seen(page)
    live(page)
    expect(lane.locator('[data-figure="lag"]')).to_contain_text("0")
    assert "loyalty-1" in demo.read()["processes"]
    looked_at(page, "tour-4", 1440)

    go_on(page, 5)
    page.get_by_role("button", name="Poison an event").click()
    repair = page.get_by_role("button", name="Correct its data and replay it")
    expect(repair).to_be_visible()
    live(page)
    orders = page.locator('[data-lane="orders"]')
    expect(orders).to_contain_text("1 dead letter, 1 key parked")
    remedy = orders.get_by_role("link", name="Repair")
    expect(remedy).to_have_attribute("href", "/dead-letters/?consumer=orders")
    looked_at(page, "tour-5", 1440)
    repair.click()
    all_seen(page)
    live(page)
    expect(orders).not_to_contain_text("dead letter", timeout=LONG)
    page.get_by_role("link", name="That was the tour").click()
    expect(page.locator("#tour")).to_have_count(0)
    expect(page.get_by_role("link", name="Tour")).to_be_visible()


def test_the_tour_works_by_keyboard_on_a_small_screen_in_the_dark(open_demo: OpenDemo) -> None:
    page = open_demo("/?tour=1", width=390, theme="dark")
    live(page)
    pay = page.get_by_role("button", name="Pay 12.50 EUR")
    pay.focus()
    # Asked again meanwhile, the button that has the focus keeps it.
    page.wait_for_event("response", lambda answer: "/tour/?" in answer.url)
    expect(pay).to_be_focused()
    page.keyboard.press("Enter")
    all_seen(page)
    looked_at(page, "tour-dark", 390)
    # The address alone tells where somebody is.
    address = page.url
    assert "tour=1" in address
    page.goto(address)
    all_seen(page)


def test_the_tour_works_without_script(open_demo: OpenDemo) -> None:
    page = open_demo("/?tour=1", script=False)
    page.get_by_role("button", name="Pay 12.50 EUR").click()
    expect(page.locator("#tour")).to_contain_text("A payment is made and validated")
    expect(page.locator('#tour .step[data-state="ok"]').first).to_be_visible()
    expect(page.locator("#following")).to_be_visible()


def test_the_panel_shows_what_happens_and_finds_its_server_again(
    open_demo: OpenDemo, demo: RunningDemo
) -> None:
    page = open_demo("/chaos/", expected=("ERR_", "Failed to load"))
    live(page)
    part = page.locator('[data-part="analytics-1"]')
    expect(part).to_contain_text("running")
    # Whoever did it.
    os.kill(demo.read()["processes"]["analytics-1"], signal.SIGSTOP)
    expect(part).to_contain_text("frozen")
    looked_at(page, "chaos", 1440)
    part.get_by_role("button", name="Thaw").click()
    expect(page.locator('[data-part="analytics-1"]')).to_contain_text("running")
    live(page)
    server = demo.read()["processes"]["web"]
    os.kill(server, signal.SIGSTOP)
    try:
        expect(page.locator("#live")).to_have_text("no live figures", timeout=LONG)
        expect(page.locator("#parts")).to_have_attribute("data-stale", "true")
    finally:
        os.kill(server, signal.SIGCONT)
    expect(page.locator("#live")).to_have_text("live", timeout=LONG)
    expect(page.locator("#notices")).to_be_empty()
    small = open_demo("/chaos/", width=390, theme="dark")
    live(small)
    looked_at(small, "chaos-dark", 390)


@pytest.fixture
def thawed(demo: RunningDemo) -> Iterator[None]:
    """What a test froze and did not come to thaw is no fault of the next one."""
    yield
    for process in demo.read()["processes"].values():
        with suppress(ProcessLookupError):
            os.killpg(os.getpgid(process), signal.SIGCONT)


def press(panel: Page, verb: str, name: str, state: str) -> None:
    """Press a part's button on the panel, and see what it has become."""
    panel.get_by_role("button", name=f"{verb} {name}", exact=True).click()
    expect(panel.locator(f'[data-part="{name}"]')).to_contain_text(state, timeout=LONG)
    live(panel)


def pay(demo: RunningDemo) -> str:
    """Has the demo's merchant make a payment and validate it; its id."""
    told = demo.read()
    headers = {"Authorization": f"Token {told['token']}"}
    with httpx.Client(base_url=told["url"], headers=headers, timeout=30) as client:
        body = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR"}
        made = client.post("/api/payments/", json=body).raise_for_status().json()
        client.post(f"/api/payments/{made['id']}/validate/", json={}).raise_for_status()
        return str(made["id"])


def has_its_order(page: Page, payment: str) -> None:
    """All services have heard of the payment, and its page says so."""
    page.goto(f"/payments/{payment}/")
    expect(page.get_by_role("region", name="Order")).to_contain_text("created", timeout=LONG)
    expect(page.locator("#facts dd.number").first).to_have_text("12", timeout=LONG)  # points


@pytest.mark.usefixtures("thawed")
def test_a_relay_that_is_frozen_or_killed_by_its_button_is_shown_and_found_again(
    open_demo: OpenDemo, demo: RunningDemo
) -> None:
    panel, flow, page = open_demo("/chaos/"), open_demo(), open_demo("/payments/")
    live(flow)
    relay, waiting = flow.locator('[data-stage="relay"]'), flow.locator('[data-figure="waiting"]')
    press(panel, "Freeze", "relay-1", "frozen")
    expect(panel.get_by_role("button", name="Freeze relay-1")).to_have_count(0)
    payment = pay(demo)
    # Its lease ends, and nobody sends.
    expect(relay).to_have_attribute("data-state", "bad", timeout=LONG)
    # The payment's two events, and what came of an earlier payment in the meantime.
    expect(waiting).to_have_text(re.compile(r"^\s*([2-9]|\d\d)"), timeout=LONG)
    looked_at(flow, "flow-relay-frozen", 1440)
    press(panel, "Thaw", "relay-1", "running")
    has_its_order(page, payment)
    expect(relay).to_have_attribute("data-state", "ok", timeout=LONG)
    before = demo.read()["processes"]["relay-1"]
    panel.get_by_role("button", name="Kill relay-1").click()
    until(lambda: demo.read()["processes"].get("relay-1", before) != before, seconds=60)
    expect(panel.locator('[data-part="relay-1"]')).to_contain_text("running", timeout=LONG)
    has_its_order(page, pay(demo))
    expect(relay).to_have_attribute("data-state", "ok", timeout=LONG)


@pytest.mark.usefixtures("thawed")
def test_kafka_that_is_frozen_or_killed_by_its_button_is_shown_and_found_again(
    open_demo: OpenDemo, demo: RunningDemo
) -> None:
    panel, flow, page = open_demo("/chaos/"), open_demo(), open_demo("/payments/")
    live(flow)
    kafka = flow.locator('[data-stage="kafka"]')
    press(panel, "Freeze", "kafka", "frozen")
    payment = pay(demo)
    expect(flow.locator("#notices")).to_contain_text("Kafka does not answer", timeout=LONG)
    expect(kafka).to_have_attribute("data-state", "bad")
    looked_at(flow, "flow-kafka-frozen", 1440)
    press(panel, "Thaw", "kafka", "running")
    has_its_order(page, payment)
    expect(flow.locator("#notices")).to_be_empty(timeout=LONG)
    before = demo.read()["processes"]["kafka"]
    panel.get_by_role("button", name="Kill kafka").click()
    payment = pay(demo)
    until(lambda: demo.read()["processes"].get("kafka", before) != before, seconds=60)
    expect(panel.locator('[data-part="kafka"]')).to_contain_text("running", timeout=LONG)
    has_its_order(page, payment)
    expect(kafka).to_have_attribute("data-state", "ok", timeout=LONG)
    expect(flow.locator("#notices")).to_be_empty(timeout=LONG)


@pytest.mark.usefixtures("thawed")
def test_a_worker_that_is_stopped_by_its_button_leaves_its_tasks_until_it_is_started(
    open_demo: OpenDemo, demo: RunningDemo
) -> None:
    panel, page = open_demo("/chaos/"), open_demo("/consumers/analytics/rebuild/")
    press(panel, "Stop", "worker", "stopped")
    assert "worker" not in demo.read()["processes"]
    page.get_by_label("Reason").fill("to see who does it")
    page.get_by_role("button", name="Rebuild it").click()
    generations = page.locator("#generations")
    expect(generations).to_contain_text("It waits for a worker", timeout=LONG)
    looked_at(panel, "chaos-worker-stopped", 1440)
    press(panel, "Start", "worker", "running")
    assert "worker" in demo.read()["processes"]
    expect(page.locator("#generation-2")).to_contain_text("live", timeout=LONG)
    expect(generations).not_to_contain_text("being built", timeout=LONG)
