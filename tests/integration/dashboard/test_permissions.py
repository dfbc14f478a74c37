"""Each act has a permission of its own, on the pages, over REST and in the admin; it binds operators too."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts.models import User
from outbox.repair.acts import Act
from tests.integration.dashboard.conftest import browser_of
from tests.planted import plant

pytestmark = pytest.mark.django_db

ACTS = [
    ("replay_deadletter", "/dead-letters/{letter_id}/replay/"),
    ("replay_deadletter", "/dead-letters/{letter_id}/correct/"),
    ("replay_deadletter", "/dead-letters/matching/replay/"),
    ("replay_deadletter", "/dead-letters/jobs/{job_id}/stop/"),
    ("replay_deadletter", "/api/dead-letters/{letter_id}/replay/"),
    ("discard_deadletter", "/dead-letters/{letter_id}/discard/"),
    ("discard_deadletter", "/dead-letters/matching/discard/"),
    ("discard_deadletter", "/api/dead-letters/{letter_id}/discard/"),
    ("release_parkedkey", "/dead-letters/parked/{parked_id}/release/"),
    ("release_parkedkey", "/dead-letters/parked/release/"),
    ("release_parkedkey", "/api/parked-keys/{parked_id}/release/"),
    ("steer_consumer", "/consumers/orders/pause/"),
    ("steer_consumer", "/consumers/orders/seek/"),
    ("steer_consumer", "/api/consumers/orders/pause/"),
    ("steer_consumer", "/api/consumers/orders/resume/"),
    ("resend_refusal", "/events/{event_id}/resend/"),
    ("discard_refusal", "/events/{event_id}/discard/"),
    ("silence_alarm", "/alerts/{alarm_id}/silence/"),
]


@pytest.mark.parametrize(("permission", "address"), ACTS)
def test_an_act_asks_for_its_own_permission(operator: User, permission: str, address: str) -> None:
    address = address.format(**plant())
    acts = Act.objects.count()

    def status(user: User) -> int:
        return browser_of(user).post(address, {"reason": ""}).status_code

    assert status(operator) != 403
    held = Permission.objects.get(content_type__app_label="outbox", codename=permission)
    Group.objects.get(name="operator").permissions.remove(held)
    fresh = User.objects.get(pk=operator.pk)
    before = Act.objects.count()
    assert status(fresh) == 403
    assert Act.objects.count() == before >= acts
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
    for _, address in ACTS:
        assert browser.post(address.format(**things), {"reason": "r"}).status_code == 403, address
    assert "/replay/" not in browser.get(f"/dead-letters/{things['letter_id']}/").content.decode()
