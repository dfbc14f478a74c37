"""The flow page in a real browser, over every process of the project."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.axe import findings
from tests.browser.conftest import OpenPage
from tests.browser.site import Site
from tests.engine import until
from tests.servers import PROJECT

LONG = 60_000
SCREENSHOTS = PROJECT / "test-results"


def pay(page: Page, *, amount: str = "12.50", customer: str = "customer-1") -> str:
    """Create and validate a payment by the form; return its id."""
    page.get_by_label("Customer, by").fill(customer)
    page.get_by_label("Amount").fill(amount)
    page.get_by_role("button", name="Create and validate").click()
    following = page.locator("#following")
    following.wait_for()
    return str(following.get_attribute("data-payment"))


def live(page: Page) -> None:
    expect(page.locator("#live")).to_have_text("live", timeout=LONG)


def notice(page: Page) -> str:
    return page.locator("#notices").inner_text()


def test_a_payment_becomes_an_order_and_points_before_the_eyes(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff")
    live(page)
    payment_id = pay(page, amount="42.00", customer="c-eyes")
    expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=LONG)
    steps = page.locator("#following .step")
    expect(steps).to_have_count(6)
    for step in steps.all():
        expect(step).to_have_attribute("data-state", "ok")
    expect(page.locator("#following")).to_contain_text("42 points, 42 in all")
    orders = site.query(f"SELECT id FROM orders_order WHERE payment_id = '{payment_id}'")
    assert len(orders) == 1
    expect(page.locator("#following")).to_contain_text("Order created")
    expect(page.locator(f'#following [data-copy="{orders[0][0]}"]')).to_be_visible()
    # The page can be sent to a colleague: its address holds the payment.
    assert page.url.endswith(f"/?payment={payment_id}")
    row = page.locator("#events tbody tr", has_text="PaymentValidated").first
    expect(row.locator(".state", has_text="processed")).to_have_count(3)


def test_an_event_has_a_page_that_tells_its_story(open_page: OpenPage) -> None:
    page = open_page("staff")
    live(page)
    payment_id = pay(page, customer="c-story")
    expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=LONG)
    page.get_by_role("link", name="Payment validated").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("PaymentValidated")
    for told in ("PaymentRequested", "OrderCreated", "PointsEarned"):
        expect(page.get_by_role("region", name="Story")).to_contain_text(told)
    expect(page.get_by_role("region", name="Data")).to_contain_text(f'"payment_id": "{payment_id}"')
    expect(page.get_by_role("region", name="Headers")).to_contain_text("ce_sequence")
    expect(page.get_by_role("region", name="Way")).to_contain_text("offset")
    page.get_by_role("link", name="OrderCreated").click()
    expect(page.get_by_role("region", name="Outbox row")).to_contain_text("Caused by")


def test_staff_pay_for_the_merchant_they_pick(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff")
    page.get_by_label("For the merchant").select_option(label="second")
    payment_id = pay(page)
    [(merchant,)] = site.query(f"SELECT merchant_id FROM payments_payment WHERE id = '{payment_id}'")
    assert str(merchant) == site.users["second"][0]


def test_what_is_wrong_with_a_payment_is_said_beside_it(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff", expected=("422",))
    before = site.query("SELECT count(*) FROM payments_payment")
    for amount, said in (("-1", "greater than zero"), ("1.234", "2 decimals"), ("much", "12.50")):
        page.get_by_label("Amount").fill(amount)
        page.get_by_role("button", name="Create and validate").click()
        expect(page.locator("#make [role=alert]")).to_contain_text(said)
        expect(page.get_by_label("Amount")).to_have_value(amount)
    assert site.query("SELECT count(*) FROM payments_payment") == before


def test_merchants_see_nothing_of_each_other_and_no_page_of_operators(
    site: Site, open_page: OpenPage
) -> None:
    first = open_page("first")
    first.wait_for_url("**/payments/")
    payment_id = pay(first, customer="c-private")
    expect(first.locator("#following")).to_have_attribute("data-over", "true", timeout=LONG)
    assert first.url.endswith(f"/payments/?payment={payment_id}")
    expect(first.locator("#following .step")).to_have_count(6)
    assert first.locator("main a[href*='/events/']").count() == 0
    second = open_page("second", expected=("404", "403"))
    pay(second, customer="c-mine")
    second.goto("/payments/")
    expect(second.locator("#payments")).to_contain_text("c-mine")
    assert payment_id not in second.content()
    assert "c-private" not in second.content()
    assert second.get_by_role("navigation").first.get_by_role("link").all_inner_texts() == [
        *("Payments", "Volumes", "API")
    ]
    [(event_id,)] = site.query(f"SELECT id FROM outbox_event WHERE key = '{payment_id}' LIMIT 1")
    for path, status in (
        (f"/payments/?payment={payment_id}", 404),
        (f"/payments/{payment_id}/following/", 404),
        (f"/events/{event_id}/", 403),
        (f"/events/find/?q={event_id}", 403),
        ("/flow/stream/", 403),
    ):
        answer = second.request.get(path)
        assert answer.status == status, path


def test_who_may_only_watch_is_told_so(site: Site, open_page: OpenPage) -> None:
    site.post("first", "/api/payments/", {"customer_id": "c-1", "amount": "1", "currency": "EUR"})
    page = open_page("watcher")
    live(page)
    expect(page.locator("#make")).to_contain_text("may watch, not pay")
    # A viewer sees every merchant's events.
    expect(page.locator("#events tbody tr").first).to_be_visible()


def test_planted_scripts_stay_text(site: Site, open_page: OpenPage) -> None:
    planted = "<script>owned=1</script>"
    payment = site.post(
        planted,
        "/api/payments/",
        {
            "customer_id": "c-script",
            "amount": "1.00",
            "currency": "EUR",
            "lines": [{"sku": f"{planted}<img src=x onerror=owned=1>", "quantity": 1, "unit_price": "1.00"}],
            "metadata": {"note": planted},
        },
    )
    page = open_page("staff", expected=("404",))
    live(page)
    expect(page.locator(f'#events [data-copy="{payment["id"]}"]')).to_be_visible()
    page.goto(f"/events/{payment['event_id']}/")
    expect(page.get_by_role("region", name="Data")).to_contain_text(f"{planted}<img src=x")
    assert page.locator("script:not([src])").count() == 0
    page.goto(f"/events/find/?q={planted}")
    expect(page.get_by_text(planted)).to_be_visible()
    page.goto(f"/?payment={payment['id']}")
    page.get_by_label("For the merchant").select_option(label=planted)
    assert page.evaluate("typeof owned") == "undefined"
    own = open_page(planted)
    expect(own.locator(".who")).to_contain_text(planted)
    assert own.evaluate("typeof owned") == "undefined"


def test_the_table_is_worked_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("staff")
    live(page)
    for _ in range(2):
        pay(page, customer="c-keys")
        expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=LONG)
    page.locator("h1").click()
    for key in "jjk":
        page.keyboard.press(key)
    selected = page.locator("#events tr[aria-selected=true]")
    expect(selected).to_have_count(1)
    target = selected.get_attribute("data-href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{target}")
    page.goto("/")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type(str(target).split("/")[2])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{target}")


def test_a_click_copies_the_whole_id(open_page: OpenPage) -> None:
    page = open_page("staff")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pay(page)
    button = page.locator("#events button.id:visible").first
    expect(button).to_be_visible()
    button.click()
    copied = page.locator("#events .copied")
    expect(copied).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == copied.get_attribute("data-copy")


def test_a_question_mark_explains_its_term(open_page: OpenPage) -> None:
    page = open_page("staff")
    page.locator('[popovertarget="hint-stage-outbox"]').click()
    text = page.locator("#hint-stage-outbox")
    expect(text).to_be_visible()
    expect(text).to_contain_text("same transaction")
    box, button = text.bounding_box(), page.locator('[popovertarget="hint-stage-outbox"]').bounding_box()
    assert box is not None
    assert button is not None
    assert abs(box["y"] - button["y"]) < 60
    page.keyboard.press("Escape")
    expect(text).to_be_hidden()


def test_a_dead_kafka_is_shown_and_found_again(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff")
    live(page)
    site.stack.kafka.kill()
    try:
        expect(page.locator("#notices")).to_contain_text("Kafka does not answer", timeout=LONG)
        expect(page.locator('[data-stage="kafka"]')).to_have_attribute("data-state", "bad")
        assert re.search(r"Away since \d\d:\d\d:\d\d", notice(page))
        # Payments go on, and wait in the outbox.
        pay(page, customer="c-dark")
        waiting = page.locator('[data-stage="outbox"] [data-figure="waiting"]')
        expect(waiting).to_contain_text("2", timeout=LONG)
        expect(page.locator("#following")).to_contain_text("waits in the outbox")
    finally:
        site.stack.kafka.start()
    expect(page.locator("#notices")).not_to_contain_text("Kafka", timeout=60_000)
    expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=60_000)
    expect(page.locator('[data-lane="orders"] [data-figure="lag"]')).to_contain_text("0", timeout=LONG)


def test_a_dead_database_is_shown_and_found_again(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff")
    live(page)
    site.stack.postgres.kill()
    try:
        expect(page.locator("#notices")).to_contain_text("The database does not answer", timeout=LONG)
        expect(page.locator('[data-stage="payments"]')).to_have_attribute("data-state", "bad")
        # The server says so, and that its figures are the last: they are not live.
        expect(page.locator("#live")).to_have_text("no answer")
        # Whoever comes now gets a page that says so, not a blank one.
        answer = page.request.get("/")
        assert answer.status >= 500
        assert "The database does not answer" in answer.text()
    finally:
        site.stack.postgres.start()
    expect(page.locator("#notices")).to_be_empty(timeout=60_000)
    expect(page.locator('[data-stage="payments"]')).to_have_attribute("data-state", "ok")
    live(page)


def test_a_stopped_consumer_is_shown_as_such_and_catches_up(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff")
    live(page)
    assert site.end("loyalty") == 0
    try:
        pay(page, customer="c-still")
        lane = page.locator('[data-lane="loyalty"]')
        expect(lane.locator('[data-figure="lag"]')).to_contain_text("2", timeout=LONG)
        expect(lane).to_contain_text("not running", timeout=LONG)
        expect(lane.locator("[data-remedy]")).to_have_text("manage.py run_consumer loyalty")
        expect(lane).to_have_attribute("data-state", "bad")
        expect(page.locator('[data-lane="orders"]')).to_have_attribute("data-state", "ok")
    finally:
        site.start("loyalty")
    expect(lane.locator('[data-figure="lag"]')).to_contain_text("0", timeout=60_000)
    expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=LONG)


def test_a_server_that_goes_away_is_shown_and_found_again(site: Site, open_page: OpenPage) -> None:
    page, consumers = (
        open_page("staff", at, expected=("ERR_", "Failed to load")) for at in ("/", "/consumers/")
    )
    live(page)
    live(consumers)
    site.end("web")
    try:
        expect(page.locator("#live")).to_have_text("no live figures", timeout=LONG)
        assert re.search(r"The figures are from \d\d:\d\d:\d\d", notice(page))
        expect(page.locator(".pipeline")).to_have_attribute("data-stale", "true")
        expect(consumers.locator("#figures-orders")).to_have_attribute("data-stale", "true")
        # What is old is muted, and can be read all the same.
        assert [*findings(page), *findings(consumers)] == []
        # The open stream did not hold the server back until its patience ended.
        assert "Shutting down" in site.log()
        assert "timeout graceful shutdown exceeded" not in site.log()
    finally:
        site.start("web")
    expect(page.locator("#live")).to_have_text("live", timeout=LONG)
    expect(page.locator("#notices")).to_be_empty()


def test_whoever_is_signed_out_is_told_so(site: Site, open_page: OpenPage) -> None:
    page = open_page("staff", expected=("ERR_", "Failed to load", "401"))
    live(page)
    site.end("web")
    site.query("DELETE FROM django_session RETURNING 1")
    site.start("web")
    expect(page.locator("#live")).to_have_text("signed out", timeout=LONG)
    page.get_by_role("link", name="Sign in again").click()
    page.wait_for_url("**/login/**")


def test_whoever_may_no_longer_look_is_told_so_and_not_of_an_outage(site: Site, open_page: OpenPage) -> None:
    page = open_page("watcher", "/consumers/", expected=("ERR_", "Failed to load", "403"))
    live(page)
    watcher = site.users["watcher"][0]
    [(group,)] = site.query(
        f"DELETE FROM accounts_user_groups WHERE user_id = '{watcher}' RETURNING group_id"
    )
    try:
        site.end("web")
        site.start("web")
        expect(page.locator("#live")).to_have_text("not allowed", timeout=LONG)
        assert "You may no longer see this" in notice(page)
        assert "does not answer" not in notice(page)
        page.get_by_role("link", name="Load the page again").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Not for you")
    finally:
        site.query(
            f"INSERT INTO accounts_user_groups (user_id, group_id) VALUES ('{watcher}', {group}) RETURNING 1"
        )


def test_a_stream_that_is_refused_says_why_and_is_asked_again_where_that_may_pass(
    open_page: OpenPage,
) -> None:
    page = open_page("staff", "/consumers/", expected=("Failed to load", "400", "503"))
    live(page)
    stream = "**/consumers/stream/"
    page.route(stream, lambda route: route.fulfill(status=400))
    page.reload()
    expect(page.locator("#live")).to_have_text("no such filter", timeout=LONG)
    assert "does not understand the filter" in notice(page)
    page.unroute(stream)
    page.route(stream, lambda route: route.fulfill(status=503))
    page.reload()
    expect(page.locator("#live")).to_have_text("no live figures", timeout=LONG)
    assert "The server says that it cannot answer now" in notice(page)
    page.unroute(stream)
    live(page)
    expect(page.locator("#notices")).to_be_empty()


def test_a_page_that_is_left_leaves_nothing_open(site: Site, open_page: OpenPage) -> None:
    pages = [open_page("staff") for _ in range(3)]
    for page in pages:
        live(page)
    connections = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    [(with_three,)] = site.query(connections)
    for page in pages:
        page.close()
    until(lambda: site.query(connections)[0][0] < with_three, seconds=60)
    [(with_none,)] = site.query(connections)
    # Three viewers cost one connection, and that is given back.
    assert with_three - with_none == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1360, 1920])
def test_pages_fit_their_window_in_both_themes(open_page: OpenPage, theme: str, width: int) -> None:
    """Leaves screenshots in test-results/ to be looked at."""
    page = open_page("staff", width=width, theme=theme, expected=("404",))
    live(page)
    pay(page, customer="c-looks")
    expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=LONG)
    expect(page.locator("#events tbody tr").first).to_be_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (theme == "dark")

    def looked_at(name: str) -> None:
        SCREENSHOTS.mkdir(exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    looked_at("flow")
    page.get_by_role("link", name="Payment validated").click()
    page.get_by_role("region", name="Story").wait_for()
    looked_at("event")
    page.goto("/events/find/?q=nothing")
    looked_at("nothing")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("User name").wait_for()
    looked_at("login")


def test_the_theme_that_was_chosen_stays(open_page: OpenPage) -> None:
    page = open_page("first", theme="light")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
