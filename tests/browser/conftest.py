"""A site with all its processes, and a browser to look at it.

Both end with this package: while Playwright's synchronous API runs, the main thread looks like an event
loop's, and neither Django's ORM nor asynchronous tests work in it.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from devstack.stack import Stack
from tests.browser.site import PASSWORD, Site
from tests.servers import PROJECT

FLAGS = [
    *["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
    *["--disable-background-networking", "--disable-component-update"],
]
OpenPage = Callable[..., Page]
# A machine that does much else beside still answers.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    try:
        with Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={}) as stack:
            site = Site(stack)
            try:
                yield site
            finally:
                site.end_all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nothing_left(site: Site) -> Iterator[None]:
    """Other tests of this site begin without what these have set aside, and with all consumers running."""
    yield
    with psycopg.connect(site.stack.database_url, autocommit=True) as connection:
        for table in ("outbox_dead_letter", "outbox_parked_key", "outbox_waiting_event", "outbox_repair_job"):
            connection.execute(f"DELETE FROM {table}".encode())


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium where there is one, otherwise the one that `playwright install` fetched."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def signed_in() -> dict[str | None, Any]:
    """The cookies of who has signed in: once is enough, which takes a second, until the session is over."""
    return {}


@pytest.fixture
def open_page(site: Site, browser: Browser, signed_in: dict[str | None, Any]) -> Iterator[OpenPage]:
    """Opens a page of the site, signed in as `user`. A page's errors fail its test, unless they are expected.

    `expected` are parts of the messages that the test itself provokes.
    """
    errors: list[str] = []
    contexts = []

    def open_as(
        user: str | None,
        path: str = "/",
        *,
        width: int = 1440,
        theme: str = "light",
        script: bool = True,
        expected: tuple[str, ...] = (),
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": {390: 844, 1920: 1080}.get(width, 900)},
            color_scheme="dark" if theme == "dark" else "light",
            base_url=site.url,
            java_script_enabled=script,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)

        def note(text: str) -> None:
            if not any(part in text for part in expected):
                errors.append(text)

        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: note(str(error)))
        context.add_cookies(signed_in.get(user, []))
        page.goto(path)
        if user is not None and "/login/" in page.url:
            page.goto(f"/login/?next={path}")
            page.get_by_label("User name").fill(user)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(lambda url: "/login/" not in url)
            signed_in[user] = context.cookies()
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert not errors, f"{errors}\n{site.log()[-3_000:]}"
