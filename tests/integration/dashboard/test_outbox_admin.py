"""The outbox in the admin: looked at, found by whole values, never edited, never counted through."""

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from accounts.roles import ensure_roles
from accounts.services import ensure_user
from outbox import clock, pausing
from outbox.alerts.alarms import Alarm
from outbox.consumer_models import ConsumerState
from outbox.generations import generations_of
from outbox.ids import new_id
from outbox.models import DeadLetter, Generation, KeyProgress, OutboxEvent, ParkedKey, WaitingEvent
from outbox.pausing import pause_of
from outbox.registry import get_consumer
from outbox.repair import admin as repair_admin
from outbox.repair import jobs
from outbox.repair.acts import Act, Operator
from outbox.repair.matching import Selection
from tests.integration.dashboard.conftest import Pay, browser_of
from tests.integration.dashboard.poisoned import poison

LISTS = (
    "outboxevent",
    "publicationlisting",
    "inboxlisting",
    "parkedkeylisting",
    "waitingevent",
    "deadletter",
    "act",
    "repairjob",
    "consumerstate",
    "discardedevent",
    "loststretch",
    "refusal",
    "alarm",
    "shard",
    "topicrecord",
)
PLANTED = "<script>owned=1</script>"


@pytest.fixture
def admin(db: None) -> Client:
    return browser_of(ensure_user(username="root", password=None, is_staff=True, is_superuser=True))


@pytest.fixture
def event(first: User, pay: Pay) -> OutboxEvent:
    """An event that was sent, processed by orders, and dead-lettered by loyalty with its key parked."""
    event = OutboxEvent.objects.get(id=pay(first))
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_publication (event_id, partition, "offset") VALUES (%s, 3, 4711)', [event.id]
        )
        for consumer, outcome in (("orders", "processed"), ("loyalty", "dead")):
            cursor.execute(
                "INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition,"
                ' "offset", key, type, outcome, occurred_at)'
                " VALUES (%s, %s, 1, 'payments', 3, 4711, %s, %s, %s, now())",
                [event.id, consumer, event.key, event.type, outcome],
            )
        cursor.execute(
            "INSERT INTO outbox_parked_key (consumer, generation, topic, key, cause, event_id)"
            " VALUES ('loyalty', 1, 'payments', %s, 'dead_letter', %s)",
            [event.key, event.id],
        )
        cursor.execute(
            "INSERT INTO outbox_dead_letter (id, consumer, generation, event_id, topic, partition, "
            '"offset", key, type, headers, payload, cause, error, traceback, fingerprint, attempts)'
            " VALUES (%s, 'loyalty', 1, %s, 'payments', 3, 4711, %s, %s,"
            """ '[["ce_id", "PHNjcmlwdD4="], ["empty", null]]', %s, 'Refused', %s, %s, 'f', 1)""",
            [uuid4(), event.id, event.key, event.type, PLANTED.encode(), PLANTED, PLANTED],
        )
    return event


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, path
    return answer.content.decode()


def listed(client: Client, name: str, **asked: str) -> int:
    """How many rows a list shows."""
    answer = client.get(f"/admin/outbox/{name}/", asked)
    assert answer.status_code == 200
    return len(answer.context["cl"].result_list)


def test_every_list_opens_and_finds_by_whole_values(admin: Client, event: OutboxEvent) -> None:
    for name in LISTS:
        text_of(admin, f"/admin/outbox/{name}/")
    found = {
        "outboxevent": 1,
        "publicationlisting": 1,
        "inboxlisting": 2,
        "parkedkeylisting": 1,
        "deadletter": 1,
    }
    for name, count in found.items():
        assert listed(admin, name, q=str(event.id)) == count
        assert listed(admin, name, q=str(uuid4())) == 0
        # A part of an id is not an id: searching for parts would read all rows.
        assert listed(admin, name, q=str(event.id)[:13]) == 0
        assert listed(admin, name, q="%' OR 1=1") == 0
    assert event.key is not None
    # The request's event has the same key.
    assert listed(admin, "outboxevent", q=event.key) == 2
    assert listed(admin, "parkedkeylisting", q=event.key) == 1
    assert listed(admin, "deadletter", q=event.key) == 1


def test_the_time_filter_and_the_consumer_filter_narrow_a_list(admin: Client, event: OutboxEvent) -> None:
    found = {"outboxevent": 2, "publicationlisting": 1, "inboxlisting": 2}
    for name, count in found.items():
        assert listed(admin, name, within="1") == count
    long_ago = datetime.now(UTC) - timedelta(days=400)
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO outbox_inbox (event_id, consumer, generation, topic, partition, "offset", type,'
            " outcome, occurred_at) VALUES (%s, 'orders', 1, 'payments', 0, 0, 't', 'processed', %s)",
            [new_id(long_ago), long_ago],
        )
    assert listed(admin, "inboxlisting") == 3
    assert listed(admin, "inboxlisting", within="168") == 2
    for name in ("deadletter", "parkedkeylisting"):
        assert listed(admin, name, consumer="loyalty") == 1
        assert listed(admin, name, consumer="orders") == 0


def test_an_event_shows_where_it_went_and_who_processed_it(admin: Client, event: OutboxEvent) -> None:
    page = text_of(admin, f"/admin/outbox/outboxevent/{event.id}/change/")
    for told in (
        "partition 3, offset 4711",
        "processed",
        "dead",
        "ce_sequence",
        "&quot;amount_minor&quot;: 1250",
    ):
        assert told in page


def test_a_dead_letter_shows_its_cause_as_text(admin: Client, event: OutboxEvent) -> None:
    [letter_id] = connection_values("SELECT id FROM outbox_dead_letter")
    page = text_of(admin, f"/admin/outbox/deadletter/{letter_id}/change/")
    assert PLANTED not in page
    assert page.count("&lt;script&gt;owned=1&lt;/script&gt;") >= 3
    assert PLANTED not in text_of(admin, "/admin/outbox/deadletter/")


def connection_values(sql: str) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [value for (value,) in cursor.fetchall()]


def test_nothing_can_be_changed(admin: Client, event: OutboxEvent) -> None:
    for name in LISTS:
        assert admin.get(f"/admin/outbox/{name}/add/").status_code == 403
        assert admin.post(f"/admin/outbox/{name}/{event.id}/delete/").status_code in {302, 403, 404}
    assert admin.post(f"/admin/outbox/outboxevent/{event.id}/change/", {"type": "x"}).status_code == 403
    assert OutboxEvent.objects.get(id=event.id).type == event.type


def test_who_is_not_staff_sees_none_of_it(first: User, event: OutboxEvent) -> None:
    for name in LISTS:
        assert browser_of(first).get(f"/admin/outbox/{name}/").status_code == 302


def test_no_list_counts_its_table_or_reads_a_payload(admin: Client, event: OutboxEvent) -> None:
    for name in LISTS:
        with CaptureQueriesContext(connection) as captured:
            text_of(admin, f"/admin/outbox/{name}/")
        ours = [query["sql"] for query in captured.captured_queries if '"outbox_' in query["sql"]]
        assert ours
        for sql in ours:
            assert "COUNT(*)" not in sql, sql
            assert "OFFSET" not in sql, sql
            assert '"payload"' not in sql, sql


def test_who_operates_replays_and_discards_from_the_list(admin: Client, event: OutboxEvent) -> None:
    letter = DeadLetter.objects.get()
    address = "/admin/outbox/deadletter/"
    assert "_selected_action" in text_of(admin, address)
    asked = {"action": "discard", "_selected_action": str(letter.id)}
    page = admin.post(address, asked)
    assert page.status_code == 200
    assert PLANTED not in page.content.decode()
    assert "&lt;script&gt;" in page.content.decode()
    # Without a reason it is asked for once more.
    unsaid = confirmed(admin, address, asked, reason=" ")
    assert "Say why" in admin.post(address, unsaid).content.decode()
    assert DeadLetter.objects.get().state == "open"
    replaying = confirmed(admin, address, {**asked, "action": "replay"})
    told = admin.post(address, replaying, follow=True).content.decode()
    assert "It died again" in told
    discarding = confirmed(admin, address, asked, reason=PLANTED)
    told = admin.post(address, discarding, follow=True).content.decode()
    assert "It is discarded" in told
    assert PLANTED not in told
    assert [(act.who, act.via, act.result) for act in Act.objects.order_by("id")] == [
        ("root", "admin", "died"),
        ("root", "admin", "discarded"),
    ]
    assert listed(admin, "deadletter") == 0
    assert listed(admin, "deadletter", state="discarded") == 1
    assert listed(admin, "act", q=str(letter.id)) == 2
    shown = text_of(admin, f"{address}{letter.id}/change/")
    assert "root (admin)" in shown
    assert PLANTED not in shown


def test_who_only_looks_is_offered_no_act(event: OutboxEvent) -> None:
    viewer = ensure_user(username="viewer", password=None, groups=["viewer"], is_staff=True)
    browser, address = browser_of(viewer), "/admin/outbox/deadletter/"
    letter = DeadLetter.objects.get()
    assert "_selected_action" not in browser.get(address).content.decode()
    asked = {"action": "discard", "_selected_action": str(letter.id), "confirmed": "yes", "reason": "r"}
    assert browser.post(address, asked).status_code == 403
    assert DeadLetter.objects.get().state == "open"
    assert not Act.objects.exists()


@pytest.mark.parametrize(
    ("name", "permission", "action", "form"),
    [
        ("deadletter", "replay_deadletter", "replay", {}),
        ("deadletter", "discard_deadletter", "discard", {"reason": "r"}),
        ("parkedkeylisting", "release_parkedkey", "release", {"reason": "r"}),
        ("consumerstate", "steer_consumer", "pause", {"reason": "r"}),
        ("refusal", "resend_refusal", "resend", {}),
        ("refusal", "discard_refusal", "discard", {"reason": "r"}),
        ("consumerstate", "steer_consumer", "rebuild", {"reason": "r"}),
        ("alarm", "silence_alarm", "silence", {"reason": "r", "given": "2"}),
    ],
)
def test_each_act_asks_for_its_own_permission(
    event: OutboxEvent, name: str, permission: str, action: str, form: dict[str, str]
) -> None:
    """An operator holds them all; without one that act is not offered, nor done when asked for."""
    operator = ensure_user(username="anna", password=None, groups=["operator"], is_staff=True)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_refusal (event_id, position, topic, key, cause, refused_at)"
            " VALUES (%s, %s, 'payments', %s, 'too large', now())",
            [event.id, event.position, event.key],
        )
        cursor.execute("UPDATE outbox_parked_key SET cause = 'gap', event_id = %s", [uuid4()])
    Alarm.objects.create(cause="no_relay", said="No relay runs.")
    held = Permission.objects.get(content_type__app_label="outbox", codename=permission)
    address = f"/admin/outbox/{name}/"
    for holds in (False, True):
        group = Group.objects.get(name="operator")
        (group.permissions.add if holds else group.permissions.remove)(held)
        browser = browser_of(operator)
        page = browser.get(address)
        chosen = page.context["cl"].result_list[0].pk
        assert (f'value="{action}"' in page.content.decode()) is holds
        asked = {"action": action, "_selected_action": str(chosen)}
        confirm = browser.post(address, asked, follow=True).content.decode()
        assert ('name="confirmed"' in confirm) is holds
        told = dict(re.findall(r'name="(told-[^"]+)" value="([^"]*)"', confirm))
        browser.post(address, {**asked, "confirmed": "yes", **told, **form})
        assert Act.objects.filter(via="admin", who="anna").exists() is holds
    assert Act.objects.get().act == action


def confirmed(admin: Client, address: str, asked: dict[str, str], **given: str) -> dict[str, str]:
    """What the form that asks would send, with what it told of the rows."""
    page = admin.post(address, asked, follow=True).content.decode()
    told = dict(re.findall(r'name="(told-[^"]+)" value="([^"]*)"', page))
    return {**asked, **told, "confirmed": "yes", **given}


@pytest.mark.parametrize("action", ["replay", "discard", "correct"])
def test_a_letter_that_somebody_has_acted_on_since_it_was_shown_is_left_alone(
    admin: Client, first: User, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter, address = poison(first.id), "/admin/outbox/deadletter/"
    monkeypatch.setattr(repair_admin, "_difference", lambda letter, data: [])
    asked = {"action": action, "_selected_action": str(letter.id)}
    given = {"given": bytes(letter.payload or b"").decode()} if action == "correct" else {}
    old = confirmed(admin, address, asked, reason="r", **given)
    # It has died once more.
    DeadLetter.objects.update(attempts=letter.attempts + 1)
    refused = admin.post(address, old, follow=True).content.decode()
    assert "Somebody has acted on this letter since it was shown: nothing was done." in refused
    assert DeadLetter.objects.get().state == "open"
    assert not Act.objects.exists()


def test_a_key_is_released_without_what_the_admin_showed_and_nothing_else(admin: Client, first: User) -> None:
    letter, address = poison(first.id), "/admin/outbox/parkedkeylisting/"
    ParkedKey.objects.update(cause="gap", event_id=uuid4())
    KeyProgress.objects.update(number=3)
    WaitingEvent.objects.update(number=6)
    asked = {"action": "release", "_selected_action": str(ParkedKey.objects.get().id), "reason": "lost"}

    def told(page: str) -> dict[str, str]:
        return {"confirmed": "yes", **dict(re.findall(r'name="(told-[^"]+)" value="([^"]*)"', page))}

    shown = admin.post(address, asked, follow=True).content.decode()
    assert "numbers 4 to 5" in shown
    assert "1 waiting event will then run" in shown
    ParkedKey.objects.update(cause="dead_letter")
    held = admin.post(address, asked, follow=True).content.decode()
    assert "Releases 0 keys without what is missing; 0 waiting events will then run" in held
    assert "1 key held by a dead letter is left." in held
    ParkedKey.objects.update(cause="gap")
    KeyProgress.objects.update(number=4)
    again = admin.post(address, {**asked, "confirmed": "yes"}, follow=True).content.decode()
    assert "number 5" in again  # it had told of nothing: it asks
    refused = admin.post(address, {**asked, **told(shown)}, follow=True).content.decode()
    assert "It waits for number 5 by now, and numbers 4 to 5 was shown" in refused
    assert not Act.objects.exists()
    assert (
        admin.post(
            address, {**asked, f"told-{asked['_selected_action']}": "x", "confirmed": "yes"}
        ).status_code
        == 400
    )
    done = admin.post(address, {**asked, **told(again)}, follow=True).content.decode()
    assert "It is released without number 5" in done
    assert DeadLetter.objects.filter(key=letter.key).exclude(id=letter.id).exists()


def test_the_pause_that_the_admin_showed_is_lifted_and_no_other(admin: Client) -> None:
    orders = get_consumer("orders")
    pausing.pause(consumer=orders, by="anna", reason="a look")
    address = "/admin/outbox/consumerstate/"
    asked = {"action": "resume", "_selected_action": "orders"}
    old = confirmed(admin, address, asked)
    pausing.resume(consumer=orders, by="anna")
    pausing.pause(consumer=orders, by=pausing.ITSELF, reason="20 keys failed")
    refused = admin.post(address, old, follow=True).content.decode()
    assert "20 keys failed. That is not what was shown: nothing was done." in refused
    assert pausing.pause_of(orders) is not None
    admin.post(address, confirmed(admin, address, asked))
    assert pausing.pause_of(orders) is None


def test_a_letter_is_tried_out_corrected_and_replayed(admin: Client, first: User) -> None:
    letter = poison(first.id)
    address = "/admin/outbox/deadletter/"

    def act(action: str, **given: str) -> str:
        asked = {"action": action, "_selected_action": str(letter.id)}
        form = confirmed(admin, address, asked, **given) if given else asked
        page: str = admin.post(address, form, follow=True).content.decode()
        return page

    assert "taken back" in act("dry_run")
    tried = "nothing was kept. It has been processed; 1 that waited ran."
    assert tried in act("dry_run", confirmed="yes")
    assert not Act.objects.exists()
    asked = act("correct")
    data = json.loads(bytes(letter.payload or b""))
    assert data["customer_id"] in asked
    assert "Expected `str`" in act("correct", confirmed="yes", given=json.dumps({**data, "currency": 7}))
    letter.refresh_from_db()
    assert letter.state == "open"
    assert not Act.objects.exists()

    right = {**data, "currency": "GBP"}
    given = {"confirmed": "yes", "given": json.dumps(right, indent=2), "reason": "no such currency"}
    shown = act("correct", **given)
    assert "Nothing has been done yet" in shown
    lines = re.findall(r'name="shown" value="([^"]*)"', shown)
    assert "+  &quot;currency&quot;: &quot;GBP&quot;" in lines[0]
    assert "GBP" in act("correct", **given, shown="of another correction")
    letter.refresh_from_db()
    assert letter.state == "open"
    told = act("correct", **given, shown=unescape(lines[0]))
    assert "It has been processed with changed data; 1 that waited ran" in told
    letter.refresh_from_db()
    assert (letter.state, json.loads(bytes(letter.correction or b""))) == ("replayed", right)
    done = Act.objects.get(result="replayed")
    assert (done.who, done.via, done.why) == ("root", "admin", "no such currency")


def test_what_takes_something_is_done_to_one_at_a_time(admin: Client, first: User) -> None:
    letters = [poison(first.id) for _ in range(2)]
    asked = {"action": "correct", "_selected_action": [str(letter.id) for letter in letters]}
    assert "Choose one" in admin.post("/admin/outbox/deadletter/", asked, follow=True).content.decode()


def test_an_alarm_is_silenced_for_hours_that_are_some(admin: Client) -> None:
    alarm = Alarm.objects.create(cause="late", subject="orders", said="It is late.")

    def act(**given: str) -> str:
        asked = {"action": "silence", "_selected_action": str(alarm.id), **given}
        return admin.post("/admin/outbox/alarm/", asked, follow=True).content.decode()

    assert 'value="4"' in act()
    for nonsense in ("soon", "-1", "1000", "nan"):
        assert "Say a number of hours" in act(confirmed="yes", given=nonsense, reason="r")
    assert "nobody is told of it until" in act(confirmed="yes", given="2", reason="known")
    alarm.refresh_from_db()
    assert (alarm.silenced_by, alarm.silenced_why) == ("root", "known")
    assert Act.objects.get().consumer == "orders"


def test_a_permission_makes_nobody_an_operator(event: OutboxEvent) -> None:
    viewer = ensure_user(username="viewer", password=None, groups=["viewer"], is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(content_type__app_label="outbox"))
    browser, address = browser_of(viewer), "/admin/outbox/deadletter/"
    assert "_selected_action" not in browser.get(address).content.decode()
    asked = {"action": "replay", "_selected_action": str(DeadLetter.objects.get().id), "confirmed": "yes"}
    assert browser.post(address, asked).status_code == 403
    assert not Act.objects.exists()


def test_a_permission_that_was_taken_from_operators_stays_with_whom_it_was_given(db: None) -> None:
    operators = Group.objects.get(name="operator")
    held = Permission.objects.get(content_type__app_label="outbox", codename="discard_deadletter")
    seniors = Group.objects.create(name="seniors")
    seniors.permissions.add(held)
    operators.permissions.remove(held)
    ensure_roles(apps.get_app_config("outbox"), using="default")
    assert held not in operators.permissions.all()
    seniors.delete()
    call_command("migrate", verbosity=0)
    assert held not in operators.permissions.all()


def test_a_permission_that_is_new_is_given_to_operators_once(db: None) -> None:
    operators = Group.objects.get(name="operator")
    Permission.objects.get(codename="discard_deadletter").delete()
    call_command("migrate", verbosity=0)
    assert operators.permissions.filter(codename="discard_deadletter").exists()
    operators.permissions.remove(Permission.objects.get(codename="discard_deadletter"))
    call_command("migrate", verbosity=0)
    assert not operators.permissions.filter(codename="discard_deadletter").exists()


def test_looking_at_consumers_writes_nothing(admin: Client) -> None:
    address = "/admin/outbox/consumerstate/"
    with CaptureQueriesContext(connection) as captured:
        for words, names in ({}, 4), ({"q": "orders"}, 1), ({"q": "order"}, 0):
            assert len(admin.get(address, words).context["cl"].result_list) == names
        assert "not paused" in admin.get(address).content.decode()
        assert admin.get(f"{address}orders/change/").status_code == 200
    assert all(query["sql"].startswith(("SELECT", "SAVEPOINT", "RELEASE")) for query in captured)
    assert not ConsumerState.objects.exists()


def test_whatever_is_said_as_a_reason_can_be_stored(admin: Client) -> None:
    asked = {"_selected_action": "loyalty", "confirmed": "yes", "reason": "a\x00b"}
    admin.post("/admin/outbox/consumerstate/", {**asked, "action": "pause"})
    paused = pause_of(get_consumer("loyalty"))
    assert paused is not None
    assert paused.reason == "a\\x00b"
    alarm = Alarm.objects.create(cause="no_relay", said="No relay runs.")
    given = {**asked, "action": "silence", "_selected_action": str(alarm.id), "given": "2"}
    admin.post("/admin/outbox/alarm/", given)
    alarm.refresh_from_db()
    assert alarm.silenced_why == "a\\x00b"


def test_a_job_is_stopped_by_those_who_may_begin_one_of_its_kind(first: User) -> None:
    letter = poison(first.id)
    meant = Selection(ids=(letter.id,))
    job = jobs.begin(act="discard", selection=meant, operator=Operator("anna", "wrong"))
    operator = ensure_user(username="bob", password=None, groups=["operator"], is_staff=True)
    held = Permission.objects.get(content_type__app_label="outbox", codename="discard_deadletter")
    group = Group.objects.get(name="operator")
    group.permissions.remove(held)
    asked = {"action": "stop", "_selected_action": str(job.id), "confirmed": "yes"}
    told = browser_of(operator).post("/admin/outbox/repairjob/", asked, follow=True).content.decode()
    assert "To stop it takes the permission discard_deadletter." in told
    job.refresh_from_db()
    assert job.state == "running"
    group.permissions.add(held)
    browser_of(operator).post("/admin/outbox/repairjob/", asked)
    job.refresh_from_db()
    assert job.state == "stopped"
    found = text_of(browser_of(operator), f"/admin/outbox/act/?q={job.id}")
    assert found.count(f'href="/admin/outbox/repairjob/{job.id}/change/"') == 2


def test_a_late_letter_is_replayed_when_it_is_meant(admin: Client, first: User) -> None:
    letter = poison(first.id)
    asked, address = {"_selected_action": str(letter.id)}, "/admin/outbox/deadletter/"
    admin.post(address, confirmed(admin, address, {**asked, "action": "discard"}, reason="r"))
    DeadLetter.objects.update(state="open", cause="LateEvent", settled_at=None)
    admin.post(address, confirmed(admin, address, {**asked, "action": "replay"}))
    assert DeadLetter.objects.get().state == "open"
    admin.post(address, confirmed(admin, address, {**asked, "action": "replay_late"}))
    assert DeadLetter.objects.get().state == "replayed"


def test_a_half_built_rebuild_is_given_up(admin: Client) -> None:
    address = "/admin/outbox/consumerstate/"
    giving_up = {"action": "give_up", "_selected_action": "analytics"}
    building = {**giving_up, "action": "rebuild"}

    def done(asked: dict[str, str]) -> str:
        page: str = admin.post(address, asked, follow=True).content.decode()
        return page

    told = done(confirmed(admin, address, giving_up, reason="too slow"))
    assert "analytics: " in told
    assert not Act.objects.exists()
    old = confirmed(admin, address, building, reason="wrong counts")
    done(old)
    number = generations_of(get_consumer("analytics"))[-1][0]
    assert f"generation {number}" in admin.post(address, giving_up).content.decode()
    shown = confirmed(admin, address, giving_up, reason="too slow")
    Generation.objects.filter(state="building").update(started_at=clock.now())
    assert "That is not what was shown: nothing was done." in done(shown)
    assert generations_of(get_consumer("analytics"))[-1] == (number, "building")
    told = done(confirmed(admin, address, giving_up, reason="too slow"))
    assert f"generation {number} is given up" in told
    assert Act.objects.order_by("-id")[0].act == "abandon"


def test_a_consumer_that_was_never_paused_is_paused_and_resumed(admin: Client) -> None:
    address = "/admin/outbox/consumerstate/"
    page = admin.get(address)
    assert [state.name for state in page.context["cl"].result_list] == [
        "analytics",
        "loyalty",
        "orders",
        "payments",
    ]
    asked = {"action": "pause", "_selected_action": "loyalty", "confirmed": "yes", "reason": "wrong rates"}
    assert "it is paused by root" in admin.post(address, asked, follow=True).content.decode()
    paused = pause_of(get_consumer("loyalty"))
    assert paused is not None
    assert (paused.by, paused.reason) == ("root", "wrong rates")
    shown = {"told-loyalty": pausing.mark(paused)}
    told = admin.post(address, {**asked, **shown, "action": "resume"}, follow=True).content.decode()
    assert "it goes on" in told
    assert pause_of(get_consumer("loyalty")) is None
    acts = Act.objects.order_by("id").values_list("act", "via")
    assert list(acts) == [("pause", "admin"), ("resume", "admin")]
