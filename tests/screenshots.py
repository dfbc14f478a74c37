"""The pictures of docs/screenshots/, taken of a demo with traffic: `make screenshots`.

Another page is one more line in SHOTS. Look at what comes out: nothing here can see whether it is beautiful.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import FLAGS
from tests.engine import until
from tests.servers import PROJECT

FOLDER = PROJECT / "docs" / "screenshots"
WIDTH, HEIGHT = 1440, 900
QUALITY = 82
# All of them together, in bytes.
MOST = 1_500_000
START_SECONDS = 180
Demo = dict[str, Any]


@dataclass(frozen=True)
class Shot:
    """One page: its file's name, its address, and what is to be done before the picture is taken.

    dark  also in the dark theme; the file is named after the theme then
    """

    name: str
    path: str
    prepare: Callable[[Page, Demo], None] = lambda page, demo: None
    dark: bool = False


def follow_a_payment(page: Page, demo: Demo) -> None:
    """A payment on its way, under the pipeline."""
    page.get_by_label("Customer").fill("customer-07")
    page.get_by_label("Amount").fill("42.50")
    page.get_by_role("button", name="Create and validate").click()
    expect(page.locator("#following")).to_have_attribute("data-over", "true", timeout=30_000)
    page.evaluate("document.activeElement.blur()")


def first_of(table: str) -> Callable[[Page, Demo], None]:
    """Opens what the first row of a table leads to."""

    def open_it(page: Page, demo: Demo) -> None:
        page.locator(f"{table} tbody a").first.click()
        page.wait_for_load_state()

    return open_it


def freeze_loyalty(page: Page, demo: Demo) -> None:
    """A consumer that stands still, until it is alarming."""
    pid = demo["processes"]["loyalty-1"]
    os.kill(pid, signal.SIGSTOP)
    try:
        expect(page.locator("#present [data-state=bad]").first).to_be_visible(timeout=60_000)
    finally:
        os.kill(pid, signal.SIGCONT)


def poison_an_event(page: Page, demo: Demo) -> None:
    """One that orders refuses, with what waits behind it."""
    address = page.url
    page.goto("/chaos/")
    page.get_by_role("button", name="Poison an event").click()
    page.goto(address)
    expect(page.locator("#letter-rows tr").first).to_be_visible(timeout=60_000)


SHOTS = [
    Shot("flow", "/", follow_a_payment, dark=True),
    Shot("payment", "/payments/?status=validated", first_of("#payments")),
    Shot("event", "/events/?type=payments.PaymentValidated.v1", first_of(".events")),
    Shot("volumes", "/volumes/?slot=1m"),
    Shot("events", "/events/"),
    Shot("consumers", "/consumers/"),
    Shot("dead-letters", "/dead-letters/", poison_an_event),
    Shot("letter", "/dead-letters/", first_of("table:has(#letter-rows)")),
    Shot("topics", "/topics/"),
    Shot("alerts", "/alerts/", freeze_loyalty),
    Shot("tour", "/?tour=1"),
    Shot("chaos", "/chaos/"),
]


@contextmanager
def running_demo() -> Iterator[Demo]:
    """A demo of our own, on servers of its own, which has played payments for a while."""
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    command = [sys.executable, "manage.py", "demo", "--traffic", "--folder", str(folder)]
    log = (folder / "demo.log").open("wb")
    process = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    file = folder / "demo.json"
    try:
        until(lambda: file.exists() or process.poll() is not None, seconds=START_SECONDS)
        if process.poll() is not None:
            raise SystemExit((folder / "demo.log").read_text(errors="replace")[-3_000:])
        yield json.loads(file.read_text())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def sign_in(browser: Browser, demo: Demo, *, theme: str) -> Page:
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if theme == "dark" else "light",
        base_url=demo["url"],
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto("/login/")
    page.get_by_label("User name").fill(demo["staff"]["username"])
    page.get_by_label("Password").fill(demo["staff"]["password"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/login/" not in url)
    return page


def take(shot: Shot, page: Page, demo: Demo, *, theme: str) -> int:
    """Write one picture; return its size in bytes."""
    page.goto(shot.path)
    if page.locator("#live").count():
        expect(page.locator("#live")).to_have_text("live", timeout=30_000)
    shot.prepare(page, demo)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(1_500)  # figures come once a second
    taken = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
    )
    data = b64decode(taken["data"])
    (FOLDER / f"{shot.name}{f'-{theme}' if shot.dark else ''}.webp").write_bytes(data)
    print(f"{shot.name} ({theme}): {len(data):,} bytes")  # noqa: T201
    return len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="a picture's name; all when left out")
    parser.add_argument("--traffic", type=float, default=60.0, help="seconds of traffic beforehand")
    options = parser.parse_args()
    wanted = [shot for shot in SHOTS if not options.only or shot.name in options.only]
    FOLDER.mkdir(exist_ok=True)
    with running_demo() as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        pages = {theme: sign_in(browser, demo, theme=theme) for theme in ("light", "dark")}
        pages["light"].wait_for_timeout(options.traffic * 1_000)
        for shot in wanted:
            for theme in ("light", "dark") if shot.dark else ("light",):
                take(shot, pages[theme], demo, theme=theme)
        browser.close()
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    if size > MOST:
        raise SystemExit(f"The pictures take {size:,} bytes, and {MOST:,} are to be enough: lower QUALITY.")


if __name__ == "__main__":
    main()
