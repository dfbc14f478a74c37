"""Every address of the dashboard, whoever asks: found by walking the URL table."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from dashboard.middleware import STRICT
from tests.integration.dashboard.conftest import browser_of
from tests.planted import PLANTED, plant
from tests.walking import EVERYONES, Route, routes

pytestmark = pytest.mark.django_db

OTHERS = ("pending_id", "rejected_id", "ordered_id")  # payments to which other things may be done
Ask = Callable[[Client, str, str], int]


@pytest.fixture
def things() -> dict[str, str]:
    return plant()


@pytest.fixture(autouse=True)
def _streams_leave_the_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream gives its thread's connection back, which here is the test's own."""
    monkeypatch.setattr("dashboard.stream.connections.close_all", lambda: None)


@pytest.fixture(autouse=True)
def _in_a_demo(settings: Settings, tmp_path: Path) -> None:
    """Where the chaos panel is; nobody listens at its channel."""
    settings.DEMO_CONTROL = str(tmp_path / "control.sock")


def ask(client: Client, method: str, address: str) -> int:
    """The status; what was done is undone."""
    with transaction.atomic():
        body = urlencode({"reason": "tried", "confirmed": "yes", "hours": "4"})
        answer = client.generic(
            method, address, body if method == "POST" else "", "application/x-www-form-urlencoded"
        )
        transaction.set_rollback(True)
    if answer.streaming and answer.status_code == 200:
        answer.close()
    location = answer.headers.get("Location", "")
    return 401 if answer.status_code == 302 and location.startswith("/login/") else answer.status_code


def refused(client: Client, wanted: list[Route], things: dict[str, str], allowed: set[int]) -> list[object]:
    """Those that answer something else, to any method."""
    wrong: list[object] = []
    for route in wanted:
        address = route.address(things)
        # Of a stream the refusal alone is asked for: its answer would go on for ever.
        for method in ("HEAD",) if route.is_stream else ("GET", "POST"):
            status = ask(client, method, address)
            if status not in allowed:
                wrong.append((route.name, method, status))
    return wrong


def operators() -> list[Route]:
    return [route for route in routes() if route.name not in EVERYONES]


def test_nobody_is_let_in_without_signing_in(things: dict[str, str]) -> None:
    wanted = [route for route in routes() if route.name not in {"login", "logout"}]
    assert len(wanted) > 15
    anonymous = Client(headers={"host": "localhost"})
    assert not refused(anonymous, wanted, things, {401, 405})
    for route in wanted:
        method = "HEAD" if route.is_stream else "GET"
        assert ask(anonymous, method, route.address(things)) in {401, 405}, route
        if route.is_stream:
            assert anonymous.head(route.address(things)).status_code == 401, route


def test_merchants_get_none_of_the_operators_pages(first: User, things: dict[str, str]) -> None:
    assert len(operators()) > 5
    assert not refused(browser_of(first), operators(), things, {403, 405})
    # 405 is for a method that nobody may use, not for hiding.
    for route in operators():
        methods = ("HEAD",) if route.is_stream else ("GET", "POST")
        assert 403 in {ask(browser_of(first), method, route.address(things)) for method in methods}, route


def test_viewers_act_on_nothing(viewer: User, operator: User, things: dict[str, str]) -> None:
    own = {"login", "logout"}
    for route in routes():
        if route.name in own or route.is_stream:
            continue
        address = route.address(things)
        status = ask(browser_of(viewer), "POST", address)
        if status == 405:
            assert ask(browser_of(operator), "POST", address) == 405, route
        else:
            assert status == 403, (route, status)


class Controls(HTMLParser):
    """What on a page could act: forms that post, and buttons that are of no form that asks."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._form: dict[str, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._form = given
            if (given.get("method") or "get").lower() == "post" and given.get("action") != "/logout/":
                self.found.append(f"form to {given.get('action')}")
        if any(name in given for name in ("hx-post", "hx-put", "hx-patch", "hx-delete")):
            self.found.append(f"{tag} with htmx")
        harmless = {"popovertarget", "data-copy"} & set(given) or "theme" in (given.get("class") or "")
        if tag == "button" and self._form is None and not harmless and given.get("type") != "button":
            self.found.append(f"button {given}")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None


def test_viewers_are_offered_nothing_that_acts(viewer: User, things: dict[str, str]) -> None:
    client, opened = browser_of(viewer), 0
    for route in routes():
        if route.is_stream or route.name in {"login", "logout"}:
            continue
        for chosen in (things, *({**things, "payment_id": things[name]} for name in OTHERS)):
            answer = client.get(route.address(chosen))
            if answer.status_code != 200:
                assert answer.status_code in {302, 403, 404, 405}, (route, answer.status_code)
                continue
            controls = Controls()
            controls.feed(answer.content.decode())
            assert not controls.found, (route, controls.found)
            opened += 1
    assert opened > 10


def test_operators_are_offered_what_acts(operator: User, things: dict[str, str]) -> None:
    """What the test above looks for is there to be found."""
    controls = Controls()
    controls.feed(browser_of(operator).get("/payments/").content.decode())
    assert controls.found


def test_every_page_opens_and_nothing_planted_is_markup(staff: User, things: dict[str, str]) -> None:
    """For an operator who is staff: all of it is on some page, and none of it as markup."""
    staff.is_superuser = True
    staff.save()
    client, seen = browser_of(staff), 0
    for route in routes():
        if route.is_stream or route.name in {"login", "logout"}:
            continue
        gap = {"parked_id": things["gap_id"]} if route.name == "release-parked-key" else {}
        answer = client.get(route.address({**things, **gap}))
        assert answer.status_code in {200, 302, 404, 405}, (route, answer.status_code)
        assert answer.headers["Content-Security-Policy"] == STRICT, route
        if answer.status_code == 200:
            page = answer.content.decode()
            assert "<script>window" not in page, route
            assert "<img src=x" not in page, route
            seen += "&lt;script&gt;window.owned=1" in page
    assert seen > 3
    page = client.get(f"/payments/{things['ordered_id']}/").content.decode()
    assert "<script>window" not in page
    # The order's address, and the article of its line in the form that changes it.
    goes_to = page.partition("Goes to</dt>")[2].partition("</dd>")[0]
    assert "&lt;script&gt;window.owned=1" in goes_to
    assert page.count('value="&lt;script&gt;window.owned=1') == 1
    assert PLANTED not in client.get("/events/find/", {"q": PLANTED}).content.decode()


@pytest.mark.parametrize(
    "address",
    [
        "/?tour=1&from=999999999999999",
        "/?tour=1&from=9999999999999",
        "/dead-letters/parked/?consumer=%00&key=%00",
    ],
)
def test_nonsense_in_an_address_is_no_failure(staff: User, address: str) -> None:
    assert browser_of(staff).get(address).status_code == 200
