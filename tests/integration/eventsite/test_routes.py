"""Every address of the site, asked by everyone: a new one that is not in the table fails here."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from accounts.services import ensure_user
from contracts.money import Money
from orders.models import Order
from outbox import clock
from outbox.alerts.alarms import Alarm
from outbox.errors import ContractViolation
from outbox.models import DeadLetter, InboxEntry, OutboxEvent, ParkedKey
from outbox.processor import Processor
from outbox.registry import get_consumer
from outbox.repair import jobs
from outbox.repair.acts import Operator, Via
from outbox.repair.matching import Selection
from payments.services import request_payment, validate_payment
from tests.integration.compensation.world import as_record
from tests.integration.settling import settle

PEOPLE = ("nobody", "owner", "other", "guest", "viewer", "staff", "operator", "admin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# What everyone is answered, in the order of PEOPLE.
READ = "401 200 404 404 200 200 200 200"
LIST = "401 200 200 200 200 200 200 200"
OVERVIEW = "401 403 403 403 200 200 200 200"
OPERATE = "401 403 403 403 403 403 200 200"
RELEASE = "401 403 403 403 403 403 409 409"  # a dead letter holds it
ACT = "401 200 404 403 403 403 200 200"
REQUEST = "401 201 201 403 403 403 400 400"  # an operator names the merchant
OPEN = "200 200 200 200 200 200 200 200"
PAGE = "302 200 200 200 200 200 200 200"
OWN_PAGE = "302 200 404 404 200 200 200 200"
OPERATORS_PAGE = "302 403 403 403 200 200 200 200"
STREAM = "401 403 403 403 200 200 200 200"
ASKED = "302 403 403 403 403 403 200 200"
ACTED = "302 403 403 403 403 403 302 302"
FORM = "302 302 404 403 403 403 302 302"

REASON = {"reason": "Called off."}
CUSTOMER = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR"}
Body = dict[str, Any] | None

# By the name of a route and the method: who is answered what, and with which body. The other methods reach
# nobody: 401, 403 or 405.
TABLE: dict[str, dict[str, tuple[str, Body]]] = {
    "payment-list": {"GET": (LIST, None), "POST": (REQUEST, CUSTOMER)},
    "payment-detail": {"GET": (READ, None)},
    "payment-validate": {"POST": (ACT, {})},
    "payment-reject": {"POST": (ACT, REASON)},
    "payment-refund": {"POST": (ACT, REASON)},
    "payment-timeline": {"GET": (READ, None)},
    "order-list": {"GET": (LIST, None)},
    "order-detail": {"GET": (READ, None), "PATCH": (ACT, {"shipping_address": "1 Main Street"})},
    "order-cancel": {"POST": (ACT, REASON)},
    "loyalty-account": {"GET": (READ, None)},
    "payment-volumes": {"GET": (LIST, None)},
    "event-list": {"GET": (LIST, None)},
    "event-detail": {"GET": (READ, None)},
    "consumer-list": {"GET": (OVERVIEW, None)},
    "consumer-detail": {"GET": (OVERVIEW, None)},
    "consumer-pause": {"POST": (OPERATE, REASON)},
    "consumer-resume": {"POST": (OPERATE, REASON)},
    "dead-letter-list": {"GET": (OVERVIEW, None)},
    "dead-letter-detail": {"GET": (OVERVIEW, None)},
    "dead-letter-replay": {"POST": (OPERATE, {})},
    "dead-letter-discard": {"POST": (OPERATE, REASON)},
    "dead-letters-replay": {"POST": ("401 403 403 403 403 403 202 202", {"consumer": "analytics"})},
    "dead-letters-discard": {
        "POST": ("401 403 403 403 403 403 202 202", {**REASON, "consumer": "analytics"})
    },
    "repair-job-list": {"GET": (OVERVIEW, None)},
    "repair-job-detail": {"GET": (OVERVIEW, None)},
    "repair-job-end": {"POST": (OPERATE, {})},
    "parked-key-list": {"GET": (OVERVIEW, None)},
    "parked-key-release": {"POST": (RELEASE, REASON)},
    "api-schema": {"GET": (OPEN, None)},
    "api-docs": {"GET": (OPEN, None)},
    "healthz": {"GET": (OPEN, None)},
    "readyz": {"GET": (OPEN, None)},
    "metrics": {"GET": (OPEN, None)},
    "flow": {"GET": ("302 302 302 302 200 200 200 200", None)},  # merchants are led to their payments
    "flow-stream": {"HEAD": (STREAM, None)},
    "find": {"GET": ("302 403 403 403 302 302 302 302", None)},
    "event": {"GET": (OPERATORS_PAGE, None)},
    "event-stream": {"HEAD": (STREAM, None)},
    "event-resend": {  # it is not held
        "GET": ("302 403 403 403 403 403 404 404", None),
        "POST": ("302 403 403 403 403 403 404 404", REASON),
    },
    "event-discard": {
        "GET": ("302 403 403 403 403 403 404 404", None),
        "POST": ("302 403 403 403 403 403 404 404", REASON),
    },
    "payments": {
        "GET": (PAGE, None),
        "POST": ("302 302 302 403 403 403 422 422", CUSTOMER),  # an operator names the merchant
    },
    "payment": {"GET": (OWN_PAGE, None)},
    "payment-now": {"GET": (OWN_PAGE, None)},
    "following": {"GET": (OWN_PAGE, None)},
    "payment-command": {"POST": (FORM, REASON)},
    "volumes": {"GET": (PAGE, None)},
    "volumes-stream": {"HEAD": ("401 200 200 200 200 200 200 200", None)},
    "events": {"GET": (OPERATORS_PAGE, None)},
    "events-stream": {"HEAD": (STREAM, None)},
    "consumers": {"GET": (OPERATORS_PAGE, None)},
    "consumers-stream": {"HEAD": (STREAM, None)},
    "consumer": {"GET": (OPERATORS_PAGE, None)},
    "consumer-stream": {"HEAD": (STREAM, None)},
    "consumer-seek": {"GET": (ASKED, None), "POST": (ASKED, {})},  # without a time: asked again
    "consumer-command": {"GET": (ASKED, None), "POST": (ACTED, REASON)},
    "letters": {"GET": (OPERATORS_PAGE, None)},
    "letters-stream": {"HEAD": (STREAM, None)},
    "letters-selected": {"POST": ("302 403 403 403 403 403 409 409", {"act": "replay"})},  # nothing is ticked
    "letters-matching": {
        "GET": (ASKED, None),
        "POST": (
            ACTED,
            {**REASON, "confirmed": "yes", "asked": "2100-01-01T00:00:00Z", "shown": "1"},
        ),
    },
    "repair-jobs": {"GET": (OPERATORS_PAGE, None)},
    "repair-jobs-stream": {"HEAD": (STREAM, None)},
    "repair-job": {"GET": (OPERATORS_PAGE, None)},
    "repair-job-now": {"GET": (OPERATORS_PAGE, None)},
    "repair-job-stop": {"POST": (ACTED, {})},
    "parked-keys": {"GET": (OPERATORS_PAGE, None)},
    "parked-keys-stream": {"HEAD": (STREAM, None)},
    "parked-key": {"GET": (OPERATORS_PAGE, None)},
    "release-parked-keys": {"POST": ("302 403 403 403 403 403 409 409", REASON)},  # nothing is ticked
    "release-parked-key": {  # a dead letter holds it
        "GET": ("302 403 403 403 403 403 409 409", None),
        "POST": ("302 403 403 403 403 403 409 409", REASON),
    },
    "letter": {"GET": (OPERATORS_PAGE, None)},
    "letter-replay": {"POST": ("302 403 403 403 403 403 409 409", REASON)},  # of which state is not said
    "letter-discard": {"GET": (ASKED, None), "POST": (ASKED, REASON)},  # not confirmed
    "letter-correct": {"POST": ("302 403 403 403 403 403 409 409", {"data": "{}"})},  # against the contract
    "topics": {"GET": (OPERATORS_PAGE, None)},
    "topics-stream": {"HEAD": (STREAM, None)},
    "topic": {"GET": (OPERATORS_PAGE, None)},
    "topic-stream": {"HEAD": (STREAM, None)},
    "alerts": {"GET": (OPERATORS_PAGE, None)},
    "alerts-stream": {"HEAD": (STREAM, None)},
    "alarm-silence": {"GET": (ASKED, None), "POST": (ACTED, {**REASON, "hours": "4"})},
    # Only a demo has these.
    "chaos": {"GET": ("404 404 404 404 404 404 404 404", None)},
    "chaos-stream": {"GET": ("404 404 404 404 404 404 404 404", None)},
    "chaos-act": {"POST": ("404 404 404 404 404 404 404 404", {"act": "stop relay-1"})},
    "chaos-poison": {"POST": ("404 404 404 404 404 404 404 404", {})},
    "tour-pay": {"POST": ("404 404 404 404 404 404 404 404", {})},
    "tour-repair": {"POST": ("404 404 404 404 404 404 404 404", {})},
    "tour-now": {"GET": ("302 403 403 403 404 404 404 404", None)},  # no step is named
    "login": {"GET": ("200 302 302 302 302 302 302 302", None)},
    "logout": {"POST": ("302 302 302 302 302 302 302 302", None)},
}
# The bodies of these pages are forms, not JSON.
FORMS = {
    *("payments", "payment-command", "alarm-silence", "logout", "event-resend", "event-discard"),
    *("chaos-act", "chaos-poison", "tour-pay", "tour-repair"),
    *("consumer-seek", "consumer-command", "letters-selected", "letters-matching", "repair-job-stop"),
    *("release-parked-key", "release-parked-keys", "letter-replay", "letter-discard", "letter-correct"),
}
ANSWERED_TO_NOBODY = {302, 401, 403, 404, 405}


@dataclass(frozen=True)
class Route:
    """One entry of the URL table. Placeholders are filled by `things`."""

    name: str
    pattern: str

    def address(self, things: dict[str, str]) -> str:
        pattern = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: things[found[1]], self.pattern)
        return f"/{pattern}"


def routes() -> list[Route]:
    """All of them but the admin's, found by walking the table."""
    return [route for route in _walk(get_resolver(), "") if not route.pattern.startswith("admin/")]


def admin_routes() -> list[Route]:
    return [route for route in _walk(get_resolver(), "") if route.pattern.startswith("admin/")]


def _walk(resolver: URLResolver, prefix: str) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        pattern = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield Route(entry.name or pattern, pattern)
        else:
            yield from _walk(entry, pattern)


def test_every_route_is_in_the_table() -> None:
    # Under api/ nothing else is there, which tests of problems look at.
    assert {route.name for route in routes()} - {"^api/"} == set(TABLE)


@pytest.fixture
def people(db: None) -> dict[str, User | None]:
    return {
        "nobody": None,
        "owner": ensure_user(username="owner", password=None, groups=["merchant"]),
        "other": ensure_user(username="other", password=None, groups=["merchant"]),
        "guest": ensure_user(username="guest", password=None),
        "viewer": ensure_user(username="viewer", password=None, groups=["viewer"]),
        "staff": ensure_user(username="staff", password=None, is_staff=True),
        "operator": ensure_user(username="operator", password=None, groups=["operator"]),
        "admin": ensure_user(username="admin", password=None, is_staff=True, is_superuser=True),
    }


@pytest.fixture
def things(people: dict[str, User | None]) -> Callable[[str], dict[str, str]]:
    """What stands in the addresses, all of it the owner's: a payment that the route's command fits."""
    owner = people["owner"]
    assert owner is not None
    made = [
        request_payment(merchant_id=owner.id, customer_id="c-1", money=Money(1250, "EUR"), at=clock.now())
        for _ in range(2)
    ]
    (pending, _), (validated, event_id) = made
    validate_payment(payment_id=validated.id, merchant_id=owner.id, at=clock.now())
    settle()
    order = Order.objects.get(payment_id=validated.id)
    letter = _died(event_id)
    alarm = Alarm.objects.create(cause="no_relay", said="No relay runs.")

    selection = Selection(consumer="analytics")
    job = jobs.begin(act="replay", selection=selection, operator=Operator("owner", "asked", Via.PYTHON))

    def choose(name: str) -> dict[str, str]:
        needs_validated = name in {"payment-refund", "payment-command"}
        return {
            "payment_id": str(validated.id if needs_validated else pending.id),
            "order_id": str(order.id),
            "event_id": str(event_id),
            "customer_id": "c-1",
            "command": "refund",
            "steering": "pause",
            "act": "replay",
            "job_id": str(job.id),
            "name": "orders",
            "letter_id": str(letter.id),
            "parked_id": str(ParkedKey.objects.get().id),
            "alarm_id": str(alarm.id),
        }

    return choose


def _died(event_id: UUID) -> DeadLetter:
    """The event, as a consumer that could not process it has it."""
    event = OutboxEvent.objects.get(id=event_id)
    record = as_record(event)
    processor = Processor(get_consumer("analytics"))
    InboxEntry.objects.filter(consumer="analytics", event_id=event_id).delete()
    processor.condemn(ContractViolation("It cannot be."), attempts=1, record=record)
    processor.run([record])
    return DeadLetter.objects.get()


@pytest.mark.parametrize("who", PEOPLE)
def test_everyone_is_answered_what_the_table_says(
    who: str,
    people: dict[str, User | None],
    things: Callable[[str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The stream gives its thread's connection back, which here is the test's own.
    monkeypatch.setattr("dashboard.stream.connections.close_all", lambda: None)
    wrong = []
    client = _client(people[who])
    for route in routes():
        if route.name == "^api/":
            continue
        chosen = things(route.name)
        address = route.address(chosen)
        if route.name == "find":
            address += f"?q={chosen['event_id']}"
        for method in {*METHODS, *TABLE[route.name]}:
            answers, body = TABLE[route.name].get(method, ("", None))
            status = _ask(client, method, address, body, form=route.name in FORMS)
            allowed = {int(answers.split()[PEOPLE.index(who)])} if answers else ANSWERED_TO_NOBODY
            # A page answers HEAD and, where it is one of Django's, other methods as it does GET and POST.
            if not answers and route.name in {"login", "logout", "find", "flow"}:
                allowed |= {200}
            if status not in allowed:
                wrong.append((route.name, method, status, sorted(allowed)))
    assert not wrong, wrong


def test_an_address_that_takes_a_form_leads_to_the_page_that_has_it(
    people: dict[str, User | None], things: Callable[[str], dict[str, str]]
) -> None:
    """Whoever had to sign in anew comes to it by GET."""
    client = _client(people["admin"])
    led = {}
    for route in routes():
        if route.name in FORMS - {"logout"} and "GET" not in TABLE[route.name]:
            answer = client.get(route.address(things(route.name)), follow=True)
            assert answer.status_code == (404 if route.name.startswith(("chaos", "tour")) else 200), (
                route.name
            )
            led[route.name] = answer.request["PATH_INFO"]
    assert led["letter-replay"].startswith("/dead-letters/")
    assert len(led) > 8


def _client(user: User | None) -> Client:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    return client


def _ask(client: Client, method: str, address: str, body: Body = None, *, form: bool = False) -> int:
    """The status of the answer; what was done is undone, and who signed out is signed in again."""
    cookies = client.cookies.output()
    with transaction.atomic():
        if form:
            answer = client.generic(
                method, address, urlencode(body or {}), content_type="application/x-www-form-urlencoded"
            )
        else:
            text = "" if body is None else json.dumps(body)
            answer = client.generic(method, address, text, content_type="application/json")
        transaction.set_rollback(True)
    client.cookies.load(cookies.replace("Set-Cookie: ", ""))
    return int(answer.status_code)


def _fill(pattern: str) -> str:
    """An address of the admin that this pattern matches."""
    pattern = re.sub(r"\(\?P<app_label>(\w+)[^)]*\)", r"\1", pattern)
    pattern = pattern.replace("(?P<url>.*)$", "nowhere/").replace("^", "").replace("$", "")
    return "/" + re.sub(r"<(?:\w+:)?\w+>", "1", pattern)


@pytest.mark.parametrize("who", [name for name in PEOPLE if name not in {"guest", "staff", "admin"}])
def test_the_admin_opens_to_staff_alone(who: str, people: dict[str, User | None]) -> None:
    assert len(admin_routes()) > 50
    own, client = {"login", "logout"}, _client(people[who])
    for route in admin_routes():
        if route.name in own:
            continue
        for method in ("GET", "POST"):
            status = _ask(client, method, _fill(route.pattern), form=True)
            assert status in {302, 403}, (route, method, status)


def test_nothing_in_the_admin_fails(people: dict[str, User | None]) -> None:
    client = _client(people["admin"])
    for route in admin_routes():
        if route.name == "logout":
            continue
        status = _ask(client, "GET", _fill(route.pattern))
        assert status in {200, 302, 403, 404, 405}, (route, status)


def test_plain_staff_open_the_admin_and_are_shown_nothing_they_have_no_permission_for(
    people: dict[str, User | None],
) -> None:
    client = _client(people["staff"])
    assert _ask(client, "GET", "/admin/") == 200
    lists = [route for route in admin_routes() if route.name.endswith("_changelist")]
    assert len(lists) > 10
    for route in lists:
        assert _ask(client, "GET", _fill(route.pattern)) == 403, route
