"""Notices reach their receivers in order, at least once, and once where nothing fails."""

import base64
import hashlib
import hmac
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.core import mail
from django.db import connection, transaction
from pytest_django import Settings

from outbox import registry
from outbox.alerts import sending, webhook
from outbox.alerts.alarms import Alarm, Channel, Notice, Watch
from outbox.alerts.options import alert_options, check_alerts
from outbox.alerts.sending import send_notices
from outbox.alerts.silencing import silence
from outbox.config import config
from outbox.errors import AlertsMisconfigured, NotInTransaction
from outbox.relay_models import RelayMember
from outbox.repair.acts import Operator
from tests.database_clock import DatabaseClock
from tests.engine import until
from tests.integration.at_once import at_once
from tests.integration.outbox.alerts.looking import look, present
from tests.integration.outbox.alerts.receiver import Receiver, answers, never, slowly, trickles

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
PATH = "/services/T0/secret-part-of-the-path?token=secret-token"
Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Settings) -> Iterator[Configure]:
    def alerts(**given: Any) -> None:
        settings.OUTBOX = {**settings.OUTBOX, "ALERTS": {"HOLD": 0, **given}}
        config.cache_clear()

    before = dict(registry._consumers)
    registry._consumers.clear()
    yield alerts
    registry._consumers.update(before)
    config.cache_clear()


@pytest.fixture
def receiver(configure: Configure) -> Iterator[Receiver]:
    with Receiver() as receiver:
        url = receiver.url.replace("http://", "http://ops:pass-word@") + PATH
        configure(WEBHOOK=url, SECRET=SECRET, PAGE="https://shop.example/alerts/")
        assert send_notices() == 0  # from now on
        yield receiver


def changes(number: int) -> list[str]:
    """A relay comes and goes: so many notices; the ids of all that are for every channel are returned."""
    before = Notice.objects.count()
    for _ in range(number):
        if not RelayMember.objects.all().delete()[0] and present():
            with connection.cursor() as sql:
                sql.execute(
                    "INSERT INTO outbox_relay (owner, expires_at) VALUES ('one', clock_timestamp() + '59 s')"
                )
        look()
    assert Notice.objects.count() == before + number
    return [notice.body["id"] for notice in Notice.objects.filter(channel="").order_by("id")]


def mail_server(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")


def channel(name: str = "webhook") -> Channel:
    return Channel.objects.get(name=name)


def test_each_change_is_posted_once_in_order_and_signed(receiver: Receiver) -> None:
    ids = changes(3)
    assert send_notices() == 3
    assert send_notices() == 0
    assert receiver.ids == ids
    assert [one.notice["type"] for one in receiver.received] == ["alarm.begun", "alarm.ended", "alarm.begun"]
    first = receiver.received[0]
    assert first.path == PATH
    assert first.headers["Authorization"] == "Basic " + base64.b64encode(b"ops:pass-word").decode()
    assert first.headers["webhook-id"] == first.notice["id"]
    signed = b".".join([first.notice["id"].encode(), first.headers["webhook-timestamp"].encode(), first.raw])
    told = first.headers["webhook-signature"]
    assert told == "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    data = first.notice["data"]
    assert data["cause"] == "no_relay"
    assert data["page"] == "https://shop.example/alerts/"
    assert first.notice["text"] == data["said"]
    assert channel().delivered_at is not None
    assert channel().failing_since is None


def test_with_periodic_tasks_away_whoever_looks_tells_people(receiver: Receiver) -> None:
    """Sending is such a task's work, and nobody would be told of its absence."""
    look()
    assert receiver.received == []  # a task would send it
    Watch.objects.update(tasks_at=datetime.now(UTC) - timedelta(minutes=5))
    look()
    told_beside(receiver)


def test_with_periodic_tasks_that_never_ran_whoever_looks_tells_people(
    receiver: Receiver, settings: Settings
) -> None:
    settings.OUTBOX = {**settings.OUTBOX, "PERIODIC_TASKS": True}
    config.cache_clear()
    look()
    assert receiver.received == []
    Watch.objects.update(begun_at=datetime.now(UTC) - timedelta(minutes=6))
    look()
    told_beside(receiver)


def told_beside(receiver: Receiver) -> None:
    until(lambda: {one.notice["data"]["cause"] for one in receiver.received} == {"no_relay", "no_tasks"})
    until(lambda: not [one for one in threading.enumerate() if one.name == "outbox-alerts"])


def test_a_receiver_that_was_down_gets_what_it_missed_in_order(receiver: Receiver) -> None:
    with DatabaseClock() as database:
        ids = changes(2)
        receiver.answer = answers(500)
        assert send_notices() == 0
        failed = channel()
        assert failed.reason == "It answered 500."
        assert failed.failing_since is not None
        # Not again at once, and later and later.
        assert send_notices() == 0
        assert len(receiver.received) == 1
        ahead, waits = timedelta(), []
        for _ in range(6):
            waits.append((channel().next_try_at or failed.failing_since) - (failed.failing_since + ahead))
            ahead += waits[-1] + timedelta(seconds=1)
            database.be_ahead(ahead)
            assert send_notices() == 0
        assert waits == sorted(waits)
        assert waits[-1] <= timedelta(seconds=sending.LONGEST_DELAY + 5)
        assert channel().failing_since == failed.failing_since
        assert channel().attempts == 7
        assert receiver.ids == [ids[0]] * 7
        receiver.received.clear()
        ids = changes(2)
        database.be_ahead(ahead + timedelta(hours=1))
        receiver.answer = answers(204)
        assert send_notices() == 4
        assert receiver.ids == ids
        assert (channel().failing_since, channel().reason, channel().attempts) == (None, "", 0)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    changes(1)
    receiver.answer = answers(302, Location=f"{receiver.url}/elsewhere")
    assert send_notices() == 0
    assert channel().reason == "It answered 302: redirects are not followed."
    assert [one.path for one in receiver.received] == [PATH]


@pytest.mark.parametrize("answer", [never, trickles])
def test_no_answer_is_waited_for_longer_than_the_limit(
    receiver: Receiver, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "LIMIT", 1.0)
    changes(1)
    receiver.answer = answer
    assert send_notices() == 0
    assert channel().reason == "No answer within 1 s."


def test_a_receiver_that_is_not_there_and_one_that_speaks_no_http(configure: Configure) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    configure(WEBHOOK=f"http://127.0.0.1:{port}{PATH}", SECRET=SECRET)
    send_notices()
    changes(1)
    assert send_notices() == 0
    assert channel().reason == "It cannot be reached: connection refused."
    with Receiver() as receiver:
        configure(WEBHOOK=f"http://127.0.0.1:{receiver.port}", SECRET=SECRET)
        receiver.answer = mail_server
        Channel.objects.update(next_try_at=None)
        assert send_notices() == 0
        assert channel().reason.startswith("It does not speak HTTP")
        configure(WEBHOOK=f"https://127.0.0.1:{receiver.port}", SECRET=SECRET)
        Channel.objects.update(next_try_at=None)
        assert send_notices() == 0
        assert channel().reason.startswith("It cannot be reached")


def test_one_that_is_killed_between_sending_and_writing_down_repeats(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with DatabaseClock() as database:
        ids = changes(2)
        monkeypatch.setattr(sending._Run, "_delivered", killed)
        monkeypatch.setattr(sending._Run, "_release", killed)
        with pytest.raises(Killed):
            send_notices()
        monkeypatch.undo()
        # Its claim is there for a minute, whoever comes.
        assert send_notices() == 0
        database.be_ahead(timedelta(seconds=61))
        assert send_notices() == 2
    # The receiver knows the first by its id.
    assert receiver.ids == [ids[0], *ids]


def test_a_claim_from_a_clock_that_was_ahead_holds_nobody_up(receiver: Receiver) -> None:
    changes(1)
    with connection.cursor() as sql:
        sql.execute("UPDATE outbox_alarm_channel SET claimed_until = clock_timestamp() + interval '1 day'")
    assert send_notices() == 1


def test_those_who_send_at_once_send_each_once(receiver: Receiver) -> None:
    ids = changes(4)
    receiver.answer = slowly

    def come_in_the_middle() -> int:
        until(lambda: receiver.received)
        return send_notices()

    sent = at_once(send_notices, *[come_in_the_middle] * 3)
    assert sorted(sent)[:3] == [0] * 3
    while sum(sent) < 4:
        sent.append(send_notices())
    assert receiver.ids == ids


def test_what_a_receiver_missed_for_more_than_a_day_it_never_gets(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with DatabaseClock() as database:
        changes(3)
        database.be_ahead(timedelta(hours=25))
        fresh = changes(2)[3:]
        assert send_notices() == len(fresh)
        assert receiver.ids == fresh
        assert channel().given_up == 3
        assert "never got 3 notices" in caplog.text


def test_of_very_many_it_gets_the_last(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MOST", 2)
    ids = changes(5)
    assert send_notices() == 2
    assert receiver.ids == ids[-2:]
    assert channel().given_up == 3


def test_a_new_channel_hears_nothing_of_what_was_over(configure: Configure) -> None:
    configure()
    assert len(changes(2)) == 2
    assert send_notices() == 0
    configure(EMAIL=["ops@shop.example"])
    assert send_notices() == 0
    changes(1)
    assert send_notices() == 1


def test_a_new_channel_is_told_once_what_is_still_wrong_and_others_are_not_told_again(
    receiver: Receiver, configure: Configure
) -> None:
    ids = changes(3)
    assert send_notices() == 3
    configure(
        WEBHOOK=receiver.url, SECRET=SECRET, EMAIL=["ops@shop.example"], PAGE="https://shop.example/alerts/"
    )
    assert sum(at_once(*[send_notices] * 4)) == 0
    look()
    assert sum(at_once(*[send_notices] * 4)) == 1
    look()
    assert send_notices() == 0
    assert receiver.ids == ids
    [told] = mail.outbox
    assert told.subject.startswith("[critical] No relay runs")
    assert "https://shop.example/alerts/" in told.body
    [alarm] = present().values()
    assert alarm.told_at is not None
    ids = changes(1)
    assert send_notices() == 2
    assert receiver.ids == ids
    assert mail.outbox[-1].subject == "Over: No relay runs"


def silenced(configure: Configure) -> Alarm:
    """An alarm of which nobody is told, before there is a channel."""
    configure()
    changes(1)
    [alarm] = present().values()
    return silence(alarm_id=alarm.id, duration=timedelta(hours=1), operator=Operator("ops", "known"))


def test_a_new_channel_hears_nothing_of_what_is_silenced(configure: Configure) -> None:
    silenced(configure)
    configure(EMAIL=["ops@shop.example"])
    assert send_notices() == 0
    look()
    assert send_notices() == 0
    changes(1)
    assert send_notices() == 0  # that it is over is told to those who knew of it


def test_a_channel_that_began_while_an_alarm_was_silenced_hears_of_it_afterwards(
    configure: Configure,
) -> None:
    alarm = silenced(configure)
    configure(EMAIL=["ops@shop.example"])
    assert send_notices() == 0
    silence(alarm_id=alarm.id, duration=timedelta(0), operator=Operator("ops", "it may be told again"))
    look()
    assert send_notices() == 1
    changes(1)
    assert send_notices() == 1
    assert [one.subject.partition(" No")[0] for one in mail.outbox] == ["[critical]", "Over:"]


def test_a_channel_that_began_while_an_alarm_seemed_to_be_over_hears_that_it_is_not(
    configure: Configure,
) -> None:
    configure()
    changes(1)
    configure(HOLD=3_600)
    with connection.cursor() as sql:
        sql.execute("INSERT INTO outbox_relay (owner, expires_at) VALUES ('one', now() + interval '59 s')")
    assert not look()
    configure(HOLD=3_600, EMAIL=["ops@shop.example"])
    assert send_notices() == 0
    with connection.cursor() as sql:
        sql.execute("DELETE FROM outbox_relay")
    look()
    assert send_notices() == 0  # it has not held yet
    configure(EMAIL=["ops@shop.example"])
    look()
    assert send_notices() == 1
    assert mail.outbox[0].subject.startswith("[critical] No relay runs")


def test_a_new_channel_hears_no_end_of_what_it_never_heard_begin(
    receiver: Receiver, configure: Configure
) -> None:
    told = {"WEBHOOK": receiver.url, "SECRET": SECRET}
    ids = changes(1)
    configure(**told, HOLD=3_600)
    assert send_notices() == 1
    with connection.cursor() as sql:
        sql.execute("INSERT INTO outbox_relay (owner, expires_at) VALUES ('one', now() + interval '59 s')")
    assert not look()  # over, and told to nobody yet
    configure(**told, HOLD=3_600, EMAIL=["ops@shop.example"])
    assert send_notices() == 0
    configure(**told, EMAIL=["ops@shop.example"])
    look()
    assert send_notices() == 1
    assert [one.notice["type"] for one in receiver.received] == ["alarm.begun", "alarm.ended"]
    assert receiver.ids[0] == ids[0]
    assert not mail.outbox
    # The next one it hears of whole.
    changes(1)
    assert send_notices() == 2
    changes(1)
    assert send_notices() == 2
    assert [one.subject.partition(" No")[0] for one in mail.outbox] == ["[critical]", "Over:"]


def test_people_are_mailed(configure: Configure) -> None:
    configure(EMAIL=["ops@shop.example", "boss@shop.example"], PAGE="https://shop.example/alerts/")
    send_notices()
    changes(2)
    assert send_notices() == 2
    begun, ended = mail.outbox
    assert begun.to == ["ops@shop.example", "boss@shop.example"]
    assert begun.subject.startswith("[critical] No relay runs")
    assert "Start a relay: manage.py run_relay" in begun.body
    assert "https://shop.example/alerts/" in begun.body
    assert ended.subject == "Over: No relay runs"
    assert "last seen: No relay runs" in ended.body


def test_a_mail_server_that_is_away_and_a_webhook_hold_up_nothing_of_each_other(
    configure: Configure, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings.EMAIL_HOST, settings.EMAIL_PORT = taken.getsockname()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with Receiver() as receiver:
        configure(WEBHOOK=receiver.url, SECRET=SECRET, EMAIL=["ops@shop.example"])
        send_notices()
        ids = changes(2)
        assert send_notices() == 2
        assert receiver.ids == ids
    assert channel("email").reason == "The mail server cannot be reached: connection refused."
    assert channel("email").position < channel().position


def test_nothing_is_sent_inside_a_transaction(receiver: Receiver) -> None:
    with pytest.raises(NotInTransaction), transaction.atomic():
        send_notices()


def test_secrets_are_in_no_log_and_no_row(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    changes(1)
    for answer in (answers(500), answers(302), never):
        receiver.answer = answer
        Channel.objects.update(next_try_at=None)
        webhook_limit, webhook.LIMIT = webhook.LIMIT, 0.5
        send_notices()
        webhook.LIMIT = webhook_limit
    shown = f"{caplog.text}{channel().reason}{Notice.objects.get().body}{alert_options()}{config()}"
    assert "127.0.0.1" in shown
    for secret in ("pass-word", "secret-part", "secret-token", SECRET, KEY.decode()):
        assert secret not in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"WEBHOOK": "ftp://x.example/", "SECRET": SECRET}, "http:// or https://"),
        ({"WEBHOOK": "hooks.example/path", "SECRET": SECRET}, "http:// or https://"),
        ({"WEBHOOK": "https://", "SECRET": SECRET}, "http:// or https://"),
        ({"WEBHOOK": "https://x.example:99999/", "SECRET": SECRET}, "http:// or https://"),
        ({"WEBHOOK": "https://x.example/"}, "SECRET must be"),
        ({"WEBHOOK": "https://x.example/", "SECRET": "whsec_c2hvcnQ="}, "24 bytes or more"),
        ({"WEBHOOK": "https://x.example/", "SECRET": "no-base-64"}, "SECRET must be"),
        ({"EMAIL": ["nobody"]}, "no e-mail address"),
        ({"HOLD": -1}, "HOLD must be"),
        ({"REMIND": "often"}, "REMIND must be"),
        ({"WEBHOK": "https://x.example/"}, "there is no WEBHOK"),
    ],
)
def test_wrong_settings_are_said_at_the_start(configure: Configure, given: dict[str, Any], said: str) -> None:
    configure(**given)
    [error] = check_alerts(None)
    assert said in error.msg
    assert error.msg.startswith('OUTBOX["ALERTS"]: ')
    assert SECRET not in error.msg


def test_right_settings_are_right(configure: Configure) -> None:
    configure(WEBHOOK=f"https://user:word@x.example:8443{PATH}", SECRET=SECRET, EMAIL=["ops@shop.example"])
    assert check_alerts(None) == []
    assert alert_options().webhook_host == "x.example:8443"


def test_what_is_wrong_in_the_settings_is_a_reason_too(configure: Configure) -> None:
    configure(WEBHOOK="https://x.example/", SECRET="short")
    send_notices()
    changes(1)
    assert send_notices() == 0
    assert "SECRET must be" in channel().reason
    configure(WEBHOK="")
    with pytest.raises(AlertsMisconfigured):
        send_notices()
