"""Each act has a permission of its own, on the pages, over REST and in the admin; it binds operators too."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import resolve
from pytest_django import Settings

from accounts.models import User
from outbox.repair.acts import Act
from tests.integration.dashboard.conftest import browser_of
from tests.planted import plant
from tests.walking import Route, rest_routes, routes

pytestmark = pytest.mark.django_db


@dataclass(frozen=True, slots=True)
class Asked:
    """An act of a route: the permission that it takes, what stands in its address, what its form says."""

    permission: str
    things: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] = field(default_factory=dict)


REPLAY, DISCARD, RELEASE, STEER, SILENCE = (
    Asked(name)
    for name in (
        "replay_deadletter",
        "discard_deadletter",
        "release_parkedkey",
        "steer_consumer",
        "silence_alarm",
    )
)
ACTS = {
    "letter-replay": [REPLAY],
    "letter-correct": [REPLAY],
    "letter-discard": [DISCARD],
    "letters-selected": [
        Asked(REPLAY.permission, form={"act": "replay"}),
        Asked(DISCARD.permission, form={"act": "discard"}),
    ],
    "letters-matching": [
        Asked(REPLAY.permission, things={"act": "replay"}),
        Asked(DISCARD.permission, things={"act": "discard"}),
    ],
    "repair-job-stop": [REPLAY],  # the job that is planted replays
    "release-parked-key": [RELEASE],
    "release-parked-keys": [RELEASE],
    "consumer-seek": [STEER],
    "consumer-command": [
        Asked(STEER.permission, things={"steering": steering})
        for steering in ("pause", "resume", "rebuild", "abandon")
    ],
    "event-resend": [Asked("resend_refusal")],
    "event-discard": [Asked("discard_refusal")],
    "alarm-silence": [SILENCE],
    "tour-repair": [REPLAY],
    "dead-letter-replay": [REPLAY],
    "dead-letter-discard": [DISCARD],
    "dead-letters-replay": [REPLAY],
    "dead-letters-discard": [DISCARD],
    "repair-job-end": [REPLAY],
    "parked-key-release": [RELEASE],
    "consumer-pause": [STEER],
    "consumer-resume": [STEER],
}
# Of the demo: every operator may break and mend it.
OPERATORS = {"chaos-act", "chaos-poison", "tour-pay"}
# What merchants do with their own payments and orders, and operators for them.
MERCHANTS = {
    *("payments", "payment-command", "payment-list", "payment-validate", "payment-reject", "payment-refund"),
    "order-cancel",
}
ANYONES = {"login", "logout"}


@pytest.fixture(autouse=True)
def _in_a_demo(settings: Settings, tmp_path: Path) -> None:
    """Where the chaos panel and the tour are; nobody listens at the channel."""
    settings.DEMO_CONTROL = str(tmp_path / "control.sock")


def by_name() -> dict[str, Route]:
    return {route.name: route for route in [*routes(), *rest_routes()]}


def acts() -> list[tuple[str, Asked]]:
    return [(name, asked) for name, each in ACTS.items() for asked in each]


def test_every_address_at_which_something_may_be_done_is_known(operator: User) -> None:
    things = plant()

    def takes_posts(route: Route) -> bool:
        address = route.address(things)
        view = getattr(resolve(address).func, "cls", None)
        if view is not None:  # of REST: what asks for a permission says 403 before it says 405
            return hasattr(view, "post")
        return not route.is_stream and browser_of(operator).post(address).status_code != 405

    found = {name for name, route in by_name().items() if takes_posts(route)}
    assert found == {*ACTS, *OPERATORS, *MERCHANTS, *ANYONES}


@pytest.mark.parametrize(("name", "asked"), acts())
def test_an_act_asks_for_its_own_permission(operator: User, name: str, asked: Asked) -> None:
    address = by_name()[name].address({**plant(), **asked.things})
    known = Act.objects.count()

    def status(user: User) -> int:
        return browser_of(user).post(address, {"reason": "", **asked.form}).status_code

    assert status(operator) != 403
    held = Permission.objects.get(content_type__app_label="outbox", codename=asked.permission)
    Group.objects.get(name="operator").permissions.remove(held)
    fresh = User.objects.get(pk=operator.pk)
    before = Act.objects.count()
    assert status(fresh) == 403
    assert Act.objects.count() == before >= known
    Group.objects.create(name="seniors").permissions.add(held)
    fresh.groups.add(Group.objects.get(name="seniors"))
    assert status(User.objects.get(pk=operator.pk)) != 403


def test_what_one_may_not_do_is_not_offered(operator: User) -> None:
    things = plant()
    offered = {
        f"/dead-letters/{things['letter_id']}/": [
            ("replay_deadletter", f"/dead-letters/{things['letter_id']}/replay/"),
            ("replay_deadletter", f"/dead-letters/{things['letter_id']}/correct/"),
            ("discard_deadletter", f"/dead-letters/{things['letter_id']}/discard/"),
        ],
        "/dead-letters/": [
            ("replay_deadletter", "/dead-letters/matching/replay/"),
            ("discard_deadletter", "/dead-letters/matching/discard/"),
            ("discard_deadletter", 'value="discard"'),
        ],
        "/consumers/orders/": [("steer_consumer", "/consumers/orders/seek/")],
        "/alerts/": [("silence_alarm", f"/alerts/{things['alarm_id']}/silence/")],
        f"/events/{things['event_id']}/": [
            ("resend_refusal", f"/events/{things['event_id']}/resend/"),
            ("discard_refusal", f"/events/{things['event_id']}/discard/"),
        ],
    }

    def page(address: str) -> str:
        return browser_of(User.objects.get(pk=operator.pk)).get(address).content.decode()

    group = Group.objects.get(name="operator")
    for address, links in offered.items():
        for permission, link in links:
            held = Permission.objects.get(content_type__app_label="outbox", codename=permission)
            assert link in page(address), (address, link)
            group.permissions.remove(held)
            assert link not in page(address), (address, link)
            group.permissions.add(held)


def test_permissions_make_no_operator_of_a_viewer(viewer: User) -> None:
    viewer.user_permissions.set(Permission.objects.filter(content_type__app_label="outbox"))
    things = plant()
    browser: Client = browser_of(User.objects.get(pk=viewer.pk))
    for name, asked in acts():
        address = by_name()[name].address({**things, **asked.things})
        assert browser.post(address, {"reason": "r", **asked.form}).status_code == 403, address
    for name in OPERATORS:
        assert browser.post(by_name()[name].address(things), {"act": "stop relay-1"}).status_code == 403, name
    assert "/replay/" not in browser.get(f"/dead-letters/{things['letter_id']}/").content.decode()
