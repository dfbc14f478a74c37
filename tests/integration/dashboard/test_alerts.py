"""The page of alerts: what is wrong now, what ended, who is told, and silencing."""

import base64
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pytest_django import Settings

from accounts.models import User
from dashboard.alerts import count
from dashboard.alerts.selectors import picture
from outbox import clock
from outbox.alerts.alarms import Alarm, Channel, Notice, NoticeKind, Watch
from outbox.alerts.checking import body_of
from outbox.config import config
from outbox.models import DeadLetter, ParkedKey
from outbox.repair.acts import Act
from tests.integration.dashboard.conftest import browser_of
from tests.integration.dashboard.outbox_rows import receive, refuse, write_event

pytestmark = pytest.mark.django_db

SECRET = "whsec_" + base64.b64encode(b"0" * 32).decode()
ADDRESS = "/alerts/"


@pytest.fixture(autouse=True)
def _fresh_count() -> Iterator[None]:
    count.forget()
    yield
    count.forget()
    config.cache_clear()


def watched(*, seconds_ago: float = 0.0) -> None:
    at = clock.now() - timedelta(seconds=seconds_ago)
    Watch.objects.update_or_create(id=1, defaults={"checked_at": at})


def raised(**given: object) -> Alarm:
    at = clock.now() - timedelta(minutes=3)
    said = "orders is late by 31.2 s, its limit is 5 s; 214 events wait in Kafka."
    return Alarm.objects.create(
        **{"cause": "late", "subject": "orders", "severity": "critical", "said": said, "since": at, **given}
    )


def page_of(user: User) -> str:
    return browser_of(user).get(ADDRESS).content.decode()


def test_when_nothing_is_wrong_it_says_so_and_when_that_was_seen(viewer: User) -> None:
    watched(seconds_ago=3)
    page = page_of(viewer)
    assert "Nothing was wrong at the last look" in page
    assert "Nobody watches" not in page
    assert "checked" in page


def test_one_of_which_nobody_knows_whether_it_is_over_says_since_when(viewer: User) -> None:
    watched()
    raised(unknown_since=clock.now() - timedelta(hours=3))
    raised(cause="falling_behind")
    page = page_of(viewer)
    assert page.count("not known to be over") == 1
    assert "it stays here until that is known" in page


@pytest.mark.parametrize("last", [None, 61])
def test_when_nobody_looks_nothing_is_known(viewer: User, last: int | None) -> None:
    if last is not None:
        watched(seconds_ago=last)
    page = page_of(viewer)
    assert "Nobody watches." in page
    assert "Start a Celery worker and beat, or any consumer" in page
    assert "Nothing was wrong" not in page


def test_the_worst_comes_first_with_since_when_what_to_do_and_where(viewer: User) -> None:
    watched()
    raised(
        cause="dead_letters", severity="warning", said="orders could not process 2 events; their keys wait."
    )
    raised()
    page = page_of(viewer)
    assert page.index("late by 31.2 s") < page.index("could not process 2 events")
    assert "critical, for" in page
    assert "manage.py replay --consumer orders --dry-run" in page
    assert 'href="/dead-letters/?consumer=orders"' in page.partition("Wrong now")[2]
    assert "/silence/" not in page


def test_what_follows_from_another_one_stands_after_it_with_the_advice_on_that(viewer: User) -> None:
    watched()
    raised(said="orders is late: it is paused.", follows="paused", since=clock.now() - timedelta(hours=3))
    raised(cause="paused", severity="warning", said="orders has been paused by ana for 61 min")
    page = page_of(viewer).partition("Wrong now")[2]
    assert page.index("has been paused by ana") < page.index("orders is late")
    assert page.count("manage.py consumers resume orders") == 2
    assert "Its log says" not in page


def test_the_page_that_an_alarm_leads_to_shows_what_is_wrong(viewer: User) -> None:
    """Not only that nothing is like that."""
    watched()
    dead, refused = write_event(key="the-dead-key"), write_event(key="the-refused-key")
    receive(dead, "orders", "dead")
    refuse(refused)
    gap = {"consumer": "loyalty", "generation": 1, "topic": "payments", "key": "gap-key"}
    parked = ParkedKey.objects.create(**gap, cause="gap", event_id=refused, parked_at=clock.now())
    shown = {
        raised(cause="dead_letters", subject="orders"): f"/dead-letters/{DeadLetter.objects.get().id}/",
        raised(cause="gaps", subject="loyalty"): f"/dead-letters/parked/{parked.id}/",
        raised(cause="refused", subject="payments"): f"/events/{refused}/",
    }
    client = browser_of(viewer)
    page = client.get(ADDRESS).content.decode()
    for alarm, address in shown.items():
        [link] = re.findall(rf'id="page-{alarm.id}" href="([^"]+)"', page)
        led_to = client.get(link).content.decode()
        assert f'href="{address}"' in led_to, link
        assert all(other not in led_to for other in shown.values() if other != address), link


def test_an_alarm_of_a_consumer_leads_to_its_page(viewer: User) -> None:
    watched()
    leads = {
        raised(cause="late", subject="orders"): "/consumers/orders/",
        raised(cause="no_instance", subject="undeclared"): "/consumers/",
        raised(cause="kafka_away", subject=""): "/topics/",
    }
    page = browser_of(viewer).get(ADDRESS).content.decode()
    for alarm, address in leads.items():
        assert f'id="page-{alarm.id}" href="{address}"' in page


def test_what_ended_lately_is_listed_the_last_first(viewer: User) -> None:
    watched()
    now = clock.now()
    raised(ended_at=now - timedelta(hours=2), subject="loyalty")
    raised(ended_at=now - timedelta(minutes=1), subject="payments")
    ended = page_of(viewer).partition("Ended lately")[2]
    assert ended.index("payments") < ended.index("loyalty")
    assert len(picture().ended) == 2


def test_an_operator_silences_an_alarm_with_a_reason(operator: User, viewer: User) -> None:
    watched()
    alarm = raised()
    address = f"/alerts/{alarm.id}/silence/"
    client = browser_of(operator)
    assert address in page_of(operator)
    asked = client.get(address).content.decode()
    assert "Nobody is told that this alarm lasts" in asked
    for wrong in (
        {"hours": "4"},
        {"hours": "4", "reason": " "},
        {"reason": "known"},
        {"hours": "9", "reason": "x"},
    ):
        assert client.post(address, wrong).status_code == 422
    assert not Act.objects.exists()
    answer = client.post(address, {"hours": "4", "reason": "a planned stop"})
    assert (answer.status_code, answer.headers["Location"]) == (302, ADDRESS)
    alarm.refresh_from_db()
    assert alarm.silenced_until is not None
    assert timedelta(hours=3.9) < alarm.silenced_until - clock.now() <= timedelta(hours=4)
    act = Act.objects.get()
    assert (act.who, act.why, act.via, act.result) == ("operator", "a planned stop", "dashboard", "silenced")
    page = page_of(viewer)
    assert "silenced" in page
    assert "by operator: a planned stop" in page
    assert client.post(address, {"hours": "0", "reason": "over"}).status_code == 302
    alarm.refresh_from_db()
    assert alarm.silenced_until is None


def test_what_is_over_is_silenced_by_nobody(operator: User) -> None:
    alarm = raised(ended_at=clock.now())
    form, client = {"hours": "4", "reason": "too late"}, browser_of(operator)
    page = client.post(f"/alerts/{alarm.id}/silence/", form)
    assert page.status_code == 409
    assert "is over already: nothing was silenced" in page.content.decode()
    assert not Act.objects.exists()
    assert client.post("/alerts/987654321/silence/", form).status_code == 404


def test_who_is_told_and_how_that_goes_is_shown_without_secrets(viewer: User, settings: Settings) -> None:
    watched()
    assert "Nobody is told" in page_of(viewer)
    url = "https://ops:pass-word@hooks.example/services/secret-path?token=secret-token"
    alerts = {"WEBHOOK": url, "SECRET": SECRET, "EMAIL": ["ops@shop.example"]}
    settings.OUTBOX = {**settings.OUTBOX, "ALERTS": alerts}
    config.cache_clear()
    assert "Not used yet" in page_of(viewer)
    now = clock.now()
    alarm = raised()
    for _ in range(2):
        Notice.objects.create(alarm=alarm, kind="begun", body=body_of(alarm, NoticeKind.BEGUN, now, page=""))
    Channel.objects.create(
        name="webhook", position=0, failing_since=now, reason="It answered 500.", next_try_at=now, given_up=7
    )
    last = Notice.objects.order_by("id").last()
    assert last is not None
    Channel.objects.create(name="email", position=last.id, delivered_at=now)
    page = page_of(viewer).partition("Who is told")[2]
    assert "the webhook at hooks.example" in page
    assert "It answered 500." in page
    assert "2 waiting" in page
    assert "7 notices" in page
    assert "ops@shop.example" in page
    assert "Last told" in page
    for secret in ("pass-word", "secret-path", "secret-token", SECRET):
        assert secret not in page


def test_the_navigation_counts_alarms_without_asking_for_every_page(viewer: User, first: User) -> None:
    def counted() -> list[tuple[str, str]]:
        page = browser_of(viewer).get("/topics/").content.decode()
        return re.findall(r'<span class="count" data-state="(\w+)">(\d+)</span>', page)

    raised(severity="warning")
    raised(cause="gaps", severity="warning")
    assert counted() == [("warn", "2")]
    raised(cause="backlog", severity="critical")
    assert counted() == [("warn", "2")]
    count.forget()
    assert counted() == [("bad", "3")]
    assert 'class="count"' not in browser_of(first).get("/volumes/").content.decode()


def test_a_cause_that_is_no_longer_known_is_shown_all_the_same(viewer: User) -> None:
    watched()
    raised(cause="of_another_release", subject="")
    assert "of_another_release" in page_of(viewer)
