"""What an operator does in the admin: tick a row, be asked, say why, and find it written down."""

from playwright.sync_api import Page, expect

from tests.browser.axe import findings
from tests.browser.test_flow import SCREENSHOTS

LETTERS, KEYS, CONSUMERS, REFUSALS, ALARMS, JOBS, ACTS = (
    f"/admin/outbox/{name}/"
    for name in ("deadletter", "parkedkeylisting", "consumerstate", "refusal", "alarm", "repairjob", "act")
)


def choose(page: Page, row: str, action: str) -> None:
    """Tick the row that has this text, and run an action on it: its page asks first."""
    page.locator("#result_list tr", has_text=row).locator("input.action-select").check()
    run(page, action)


def run(page: Page, action: str) -> None:
    """Run an action on what is ticked: its page asks first."""
    page.get_by_label("Select action to run").select_option(label=action)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_label("Reason")).to_be_visible()
    looked_at(page, action.partition(" ")[0].strip(":,").lower())


def looked_at(page: Page, name: str) -> None:
    """Leaves a screenshot in test-results/ to be looked at; nothing on the page keeps anyone out."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"admin-{name}.png", full_page=True)
    assert not findings(page)


def send(page: Page, button: str, reason: str) -> None:
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name=button).click()


def written_down(page: Page, *said: str) -> None:
    """The latest entry of the audit log says who did what, why, and what came of it."""
    page.goto(ACTS)
    latest = page.locator("#result_list tr.data-row").first
    for text in said:
        expect(latest).to_contain_text(text)
    height = latest.bounding_box()
    assert height is not None
    assert height["height"] < 60  # one line, however much is told
    looked_at(page, "acts")
    latest.get_by_role("link").first.click()
    expect(page.get_by_text("What came of it")).to_be_visible()
    for text in said:
        expect(page.locator("#content, main").first).to_contain_text(text)
    looked_at(page, f"act-{said[1]}")
