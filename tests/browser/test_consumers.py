"""The pages of consumers and topics in a real browser, while their services are killed and found again."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.engine import until
from tests.servers import PROJECT

LONG = 60_000
# After a kill Kafka and the tables wait for a word; after a start the group is formed anew.
LONGER = 120_000
SCREENSHOTS = PROJECT / "test-results"


def live(page: Page) -> None:
    expect(page.locator("#live")).to_have_text("live", timeout=LONG)


def pay(site: Site, times: int = 1) -> str:
    """Have payments made; returns the last one's id."""
    asked = {"customer_id": "c-1", "amount": "1.00", "currency": "EUR"}
    return [str(site.post("first", "/api/payments/", asked)["id"]) for _ in range(times)][-1]


def state(page: Page, name: str) -> Locator:
    return page.locator(f"#state-{name}")


def figure(page: Page, name: str, label: str) -> Locator:
    return page.locator(f"#figures-{name} li", has=page.get_by_text(label, exact=True)).locator(".figure")


def confirm(page: Page, button: str, reason: str) -> None:
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name=button).click()


Acts = Callable[[str], list[tuple[str, str, str, str]]]


@pytest.fixture
def acts(site: Site) -> Acts:
    """What was done to a consumer as a whole since the test began: who, through which door, result, why."""
    [(begun,)] = site.query("SELECT clock_timestamp()")

    def since_then(consumer: str) -> list[tuple[str, str, str, str]]:
        return site.query(
            "SELECT who, via, result, why FROM outbox_act"
            f" WHERE consumer = '{consumer}' AND topic = '' AND at > '{begun}' ORDER BY id"
        )

    return since_then


def test_a_killed_service_is_shown_and_catches_up(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff", "/consumers/")
    live(page)
    expect(state(page, "loyalty")).to_have_text("running", timeout=LONGER)
    site.kill("loyalty")
    try:
        expect(state(page, "loyalty")).to_have_text("no instance", timeout=LONGER)
        expect(page.locator("#why-loyalty")).to_contain_text("manage.py run_consumer loyalty")
        expect(figure(page, "loyalty", "Instances")).to_have_text("0")
        pay(site, 3)
        expect(figure(page, "loyalty", "Lag")).to_have_text("3", timeout=LONG)
        expect(page.locator("#figures-loyalty")).to_contain_text(re.compile("[1-9] s"), timeout=LONG)
        pay(site, 2)
        expect(figure(page, "loyalty", "Lag")).to_have_text("5", timeout=LONG)
        # The others go on.
        expect(state(page, "orders")).to_have_text("running")
        page.get_by_role("link", name="loyalty", exact=True).click()
        live(page)
        expect(page.locator("#members")).to_contain_text("No instance is there")
        expect(page.locator("#partitions")).to_contain_text("nobody")
    finally:
        site.start("loyalty")
    expect(state(page, "loyalty")).to_have_text("running", timeout=LONGER)
    expect(figure(page, "loyalty", "Lag")).to_have_text("0", timeout=LONGER)
    expect(page.locator("#members")).to_contain_text("reads", timeout=LONGER)
    expect(page.locator("#charts-of-lag canvas")).to_have_count(4)
    expect(page.locator("#charts-of-lag [data-told]").first).to_contain_text("events", timeout=LONG)
    page.get_by_role("link", name="1 h", exact=True).click()
    page.wait_for_url("**/consumers/loyalty/?window=1h")
    live(page)


def test_it_is_paused_and_resumed(site: Site, open_page: OpenPage, acts: Acts) -> None:
    page, onlooker = open_page("staff", "/consumers/orders/"), open_page("watcher", "/consumers/orders/")
    live(page)
    live(onlooker)
    page.get_by_role("link", name="Pause").click()
    expect(page.locator(".consequence")).to_contain_text("Its 1 instance will process nothing")
    confirm(page, "Pause it", "<b>rates</b> are wrong")
    page.wait_for_url("**/consumers/orders/")
    expect(state(onlooker, "orders")).to_have_text("paused", timeout=LONG)
    expect(onlooker.locator("#why-orders")).to_contain_text("Paused by staff: <b>rates</b> are wrong")
    expect(onlooker.locator("#acts")).to_contain_text("pause: paused")
    # Who may only look finds nothing to press.
    expect(onlooker.locator(".acts .button", has_text=re.compile("Pause|Resume|Seek"))).to_have_count(0)
    # Said by the act, and by the instance once it has noticed: until then it processes what comes in.
    until(lambda: site.log().count("consumer orders is paused by staff") == 2)
    pay(site, 2)
    live(page)
    expect(figure(page, "orders", "Lag")).to_have_text("2", timeout=LONG)
    page.get_by_role("link", name="Resume").click()
    expect(page.locator(".consequence")).to_contain_text("2 events that wait will be processed")
    confirm(page, "Resume it", "mended")
    live(page)
    expect(state(page, "orders")).to_have_text("running", timeout=LONG)
    expect(figure(page, "orders", "Lag")).to_have_text("0", timeout=LONG)
    assert [act[1:] for act in acts("orders")] == [
        ("dashboard", "paused", "<b>rates</b> are wrong"),
        ("dashboard", "resumed", "mended"),
    ]


def test_a_seek_shows_what_it_would_do_and_does_it(site: Site, open_page: OpenPage, acts: Acts) -> None:
    page = open_page("staff", "/consumers/payments/", expected=("422",))
    live(page)
    moment = datetime.now(UTC)
    orders = "SELECT count(*) FROM outbox_inbox WHERE consumer = 'payments'"
    [(earlier,)] = site.query(orders)
    payment = pay(site)
    site.post("first", f"/api/payments/{payment}/validate/", {})
    [(before,)] = until(lambda: [row for row in site.query(orders) if row[0] > earlier], seconds=60)
    page.get_by_role("link", name="Seek").click()
    page.get_by_label("Time").fill("yesterday")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert")).to_contain_text("A time is like")
    page.get_by_label("Time").fill(moment.isoformat())
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".consequence")).to_contain_text(re.compile("1 event comes? again: 1 is known"))
    expect(page.get_by_role("region", name="Move it")).to_contain_text("Stop them all")
    assert site.end("payments") == 0
    try:
        page.get_by_role("link", name="Look again").click()
        confirm(page, "Move it", "to see that nothing happens twice")
        page.wait_for_url("**/consumers/payments/")
        expect(figure(page, "payments", "Lag")).to_have_text("1")
    finally:
        site.start("payments")
    live(page)
    expect(figure(page, "payments", "Lag")).to_have_text("0", timeout=LONGER)
    assert site.query(orders) == [(before,)]
    assert [act[1:3] for act in acts("payments")] == [("dashboard", "moved")]


def test_a_rebuild_is_carried_out_by_a_worker(site: Site, open_page: OpenPage, acts: Acts) -> None:
    pay(site, 2)
    page = open_page("staff", "/consumers/analytics/rebuild/")
    expect(page.locator(".consequence")).to_contain_text(re.compile(r"Reads up to \d+ records of payments"))
    confirm(page, "Rebuild it", "to see that it works")
    live(page)
    generations = page.locator("#generations")
    [(number,)] = site.query(
        "SELECT generation FROM outbox_generation WHERE consumer = 'analytics' AND state = 'building'"
    )
    expect(generations).to_contain_text(f"Generation {number} is being built")
    expect(generations).to_contain_text("It waits for a worker", timeout=LONG)
    site.start("worker")
    site.start("beat")
    try:
        expect(page.locator(f"#generation-{number}")).to_contain_text("live", timeout=LONGER)
        expect(generations).not_to_contain_text("being built", timeout=LONGER)
        expect(page.locator("#acts")).to_contain_text("rebuild: rebuilt", timeout=LONG)
    finally:
        site.end("beat")
        site.end("worker")
    assert [act[2] for act in acts("analytics")] == ["begun", "rebuilt"]


def test_a_rebuild_is_given_up(site: Site, open_page: OpenPage, acts: Acts) -> None:
    page = open_page("staff", "/consumers/analytics/rebuild/")
    confirm(page, "Rebuild it", "to see that it can be given up")
    live(page)
    [(number,)] = site.query(
        "SELECT generation FROM outbox_generation WHERE consumer = 'analytics' AND state = 'building'"
    )
    [(before,)] = site.query(
        "SELECT generation FROM outbox_generation WHERE consumer = 'analytics' AND state = 'live'"
    )
    expect(page.locator("#generations")).to_contain_text(f"Generation {number} is being built")
    page.get_by_role("link", name="Give the rebuild up").click()
    expect(page.locator(".consequence")).to_have_text(
        f"Gives up generation {number}. Generation {before} stays live as it is."
    )
    confirm(page, "Give it up", "not today")
    page.wait_for_url("**/consumers/analytics/")
    expect(page.locator(f"#generation-{number}")).to_contain_text("abandoned", timeout=LONG)
    site.start("worker")
    site.start("beat")
    try:
        expect(page.locator(f"#generation-{number}")).to_have_count(0, timeout=LONGER)
        expect(page.get_by_role("link", name="Rebuild", exact=True)).to_be_visible(timeout=LONG)
    finally:
        site.end("beat")
        site.end("worker")
    expect(page.locator(f"#generation-{before}")).to_contain_text("live")
    assert acts("analytics")[-1] == ("staff", "dashboard", "abandoned", "not today")


def test_topics_stay_known_while_kafka_is_away(site: Site, open_page: OpenPage) -> None:
    pay(site)
    page = open_page("staff", "/topics/")
    live(page)
    expect(state(page, "payments")).to_have_text("as declared", timeout=LONG)
    records = figure(page, "payments", "Records kept")
    expect(records).to_have_text(re.compile("[1-9]"))
    consumers = open_page("staff", "/consumers/")
    live(consumers)
    site.stack.kafka.kill()
    try:
        expect(consumers.locator("#kafka")).to_contain_text("Kafka does not answer", timeout=LONG)
        expect(state(consumers, "orders")).to_have_text("waits for Kafka")
        expect(consumers.locator("#why-orders")).not_to_contain_text("started again")
        expect(page.locator("#kafka")).to_contain_text("Kafka does not answer", timeout=LONG)
        expect(page.locator("#kafka")).to_contain_text(re.compile(r"Away since \d\d:\d\d:\d\d"))
        expect(state(page, "payments")).to_have_text("no answer from Kafka")
        # What was known last; not more exactly, for the relay sent on until Kafka was away.
        expect(records).to_have_text(re.compile("[1-9]"))
        # Whoever comes now sees the same.
        page.goto("/topics/payments/")
        expect(page.locator("#kafka")).to_contain_text("Kafka does not answer")
        expect(page.locator("#partitions tr")).to_have_count(4)
        live(page)
    finally:
        site.stack.kafka.start()
    expect(page.locator("#kafka")).to_be_empty(timeout=LONGER)
    expect(consumers.locator("#kafka")).to_be_empty(timeout=LONGER)
    expect(state(page, "payments")).to_have_text("as declared", timeout=LONG)


def test_a_topic_that_was_changed_elsewhere_is_drift(site: Site, open_page: OpenPage) -> None:
    page = open_page("watcher", "/topics/")
    live(page)
    change = "UPDATE outbox_topic SET partitions = {} WHERE name = 'loyalty' RETURNING 1"
    site.query(change.format(3))
    try:
        expect(state(page, "loyalty")).to_have_text("drifted", timeout=LONG)
        expect(page.locator("#drift-loyalty")).to_contain_text("has 4 partitions, but keys are spread over 3")
        expect(page.locator("#drift-loyalty")).to_contain_text("manage.py topics apply --raise-partitions")
    finally:
        site.query(change.format(4))
    expect(state(page, "loyalty")).to_have_text("as declared", timeout=LONG)


def test_many_pages_cost_one_connection_and_leave_none(site: Site, open_page: OpenPage) -> None:
    connections = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    pages = [open_page("staff", "/consumers/") for _ in range(3)]
    for page in pages:
        live(page)
    [(with_three,)] = site.query(connections)
    for page in pages:
        page.close()
    until(lambda: site.query(connections)[0][0] == with_three - 1, seconds=60)


def test_without_script_everything_is_there_to_be_read(open_page: OpenPage) -> None:
    page = open_page("watcher", "/consumers/", script=False)
    shown = {"/consumers/": "loyalty", "/consumers/loyalty/": "payments/0", "/topics/": "as declared"}
    for path, said in shown.items():
        page.goto(path)
        expect(page.locator("main")).to_contain_text(said)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_pages_fit_their_window_in_both_themes(open_page: OpenPage, theme: str, width: int) -> None:
    """Leaves screenshots in test-results/ to be looked at."""
    page = open_page("staff", "/consumers/", width=width, theme=theme)
    SCREENSHOTS.mkdir(exist_ok=True)
    for name, path in (
        ("consumers", "/consumers/"),
        ("consumer", "/consumers/analytics/"),
        ("pause", "/consumers/analytics/pause/"),
        ("seek", "/consumers/analytics/seek/?to=2026-01-01T00:00:00Z"),
        ("topics", "/topics/"),
        ("topic", "/topics/payments/"),
    ):
        page.goto(path)
        if name not in {"pause", "seek"}:
            live(page)
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
