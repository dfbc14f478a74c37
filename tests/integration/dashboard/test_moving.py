"""Seeking on a page: the preview's numbers are what happens, and nothing that was not shown does."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import reverse

from accounts.models import User
from accounts.services import ensure_user
from outbox import registry
from outbox.config import config
from outbox.kafka import Cluster
from outbox.models import InboxEntry
from outbox.positions import Member
from outbox.repair.acts import Act
from outbox.seeking import preview
from tests.engine import send, until
from tests.integration.at_once import at_once
from tests.integration.dashboard.conftest import browser_of
from tests.integration.dashboard.test_consumers import text
from tests.integration.outbox.test_seeking import Reader, later

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]


@pytest.fixture
def reader() -> Iterator[Reader]:
    before = dict(registry._consumers)
    yield Reader()
    registry._consumers.clear()
    registry._consumers.update(before)


def ask(user: User, reader: Reader, to: datetime | str) -> HttpResponse:
    path = reverse("consumer-seek", args=[reader.consumer.name])
    return browser_of(user).get(path, {"to": to if isinstance(to, str) else to.isoformat()})  # type: ignore[return-value]


def move(user: User, reader: Reader, to: datetime, **given: Any) -> HttpResponse:
    path = reverse("consumer-seek", args=[reader.consumer.name])
    form = {"to": to.isoformat(), "reason": "once more", "skipped": "0", **given}
    return browser_of(user).post(path, form)  # type: ignore[return-value]


def said(answer: HttpResponse) -> str:
    return text(answer.content.decode())


def without_instance(reader: Reader) -> None:
    """Until Kafka and the tables know that none is there."""
    cluster = Cluster(config().kafka)
    until(lambda: not cluster.members(reader.consumer.name))
    until(lambda: not Member.objects.filter(consumer=reader.consumer.name).exists())


def test_what_comes_again_is_as_was_shown(operator: User, reader: Reader) -> None:
    send(*reader.notes("a", 1))
    moment = later()
    send(*reader.notes("a", 2), *reader.notes("b", 1))
    reader.run_until("a1", "a2", "b1")
    without_instance(reader)
    # The inbox has forgotten one of the two that come again.
    InboxEntry.objects.filter(consumer=reader.consumer.name, key="b").delete()
    shown = said(ask(operator, reader, moment))
    assert "2 events come again: 1 is known and dropped, at most 1 processed." in shown
    assert f"{reader.topic.name}/0 3 1 3 2 1 0" in shown
    assert reader.committed() == 3
    answers = at_once(*[lambda: move(operator, reader, moment)] * 2)
    assert [answer.status_code for answer in answers] == [302, 302]
    assert reader.committed() == 1
    assert [(act.who, act.via, act.result, act.why) for act in Act.objects.all()] == [
        ("operator", "dashboard", "moved", "once more")
    ]
    # And once more, later.
    assert move(operator, reader, moment).status_code == 302
    assert Act.objects.count() == 1
    assert "Nothing would come again" in said(ask(operator, reader, moment))


def test_what_is_skipped_is_as_was_shown_and_nothing_more(operator: User, reader: Reader) -> None:
    send(*reader.notes("a", 1))
    reader.run_until("a1")
    without_instance(reader)
    send(*reader.notes("a", 2, 3))
    moment = later()
    shown = said(ask(operator, reader, moment))
    assert "2 events will never be processed by" in shown
    assert "they are entered as discarded" in shown
    # Somebody who was shown fewer is asked again.
    answer = move(operator, reader, moment, skipped="1")
    assert answer.status_code == 409
    assert "More would be skipped by now than was shown" in said(answer)
    assert (reader.committed(), reader.outcomes()) == (1, ["processed"])
    assert move(operator, reader, moment, skipped="2").status_code == 302
    assert (reader.committed(), reader.outcomes()) == (3, ["processed", "discarded", "discarded"])
    assert [act.result for act in Act.objects.order_by("id")] == ["skipped", "moved"]


def test_while_an_instance_runs_there_is_nothing_to_confirm(operator: User, reader: Reader) -> None:
    moment = later()
    send(*reader.notes("a", 1))
    with reader.instance():
        until(lambda: reader.committed() == 1)
        until(lambda: Member.objects.filter(consumer=reader.consumer.name).exists())
        shown = ask(operator, reader, moment)
        assert "only while no instance of it runs. Running: " in said(shown)
        assert 'name="reason"' not in shown.content.decode()
        answer = move(operator, reader, moment)
        assert answer.status_code == 409
        assert "stop them all first" in said(answer)
        assert reader.committed() == 1
    assert not Act.objects.exists()


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("yesterday", "A time is like 2026-11-26T14:00:00."),
        ("2026-13-26T14:00:00Z", "A time is like"),
        ("2999-01-01T00:00:00Z", "That time is yet to come"),
        ("0001-01-01T00:00:00+14:00", "further away than clocks go"),
        ("\x00", "Null characters"),
        ("x" * 41, "at most 40"),
    ],
)
def test_a_time_that_is_none_is_refused(operator: User, reader: Reader, to: str, why: str) -> None:
    answer = ask(operator, reader, to)
    assert answer.status_code == 422
    assert why in said(answer)


def test_a_move_without_a_reason_or_a_preview_is_refused(operator: User, reader: Reader) -> None:
    send(*reader.notes("a", 1))
    reader.run_until("a1")
    without_instance(reader)
    beginning = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
    for given in ({"reason": " "}, {"skipped": ""}, {"skipped": "-1"}):
        assert move(operator, reader, beginning, **given).status_code == 422
    assert preview(reader.consumer, to=beginning)[0].again == 1
    assert not Act.objects.exists()


def test_too_many_are_left_to_a_terminal(
    operator: User, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.consumers.moving.MOST_SKIPPED", 1)
    send(*reader.notes("a", 1, 2))
    moment = later()
    assert "manage.py consumers seek" in said(ask(operator, reader, moment))
    assert move(operator, reader, moment, skipped="2").status_code == 409
    assert not Act.objects.exists()


def test_without_kafka_nothing_is_promised(operator: User, reader: Reader, settings: Any) -> None:
    elsewhere = {"bootstrap.servers": "127.0.0.1:9", "socket.connection.setup.timeout.ms": "1000"}
    settings.OUTBOX = {**settings.OUTBOX, "KAFKA": elsewhere}
    config.cache_clear()
    answer = ask(operator, reader, "2020-01-01T00:00:00Z")
    assert answer.status_code == 503
    assert "Kafka does not answer, so nobody can say what it would do" in said(answer)


def test_in_the_admin_it_is_previewed_and_moved_too(reader: Reader) -> None:
    send(*reader.notes("a", 1))
    moment = later()
    send(*reader.notes("a", 2))
    reader.run_until("a1", "a2")
    without_instance(reader)
    browser = browser_of(ensure_user(username="root", password=None, is_staff=True, is_superuser=True))
    browser.get("/admin/outbox/consumerstate/")

    def seek(**given: str) -> str:
        asked = {"action": "seek", "_selected_action": reader.consumer.name, **given}
        answer: Any = browser.post("/admin/outbox/consumerstate/", asked, follow=True)
        return str(answer.content.decode())

    assert "See what it would do" in seek()
    assert "is no time with an offset" in seek(confirmed="yes", given="yesterday", reason="r")
    assert "yet to come" in seek(confirmed="yes", given="2999-01-01T00:00:00Z", reason="r")
    assert "1970-01-01T00:00:00Z is before all" in seek(confirmed="yes", given="0001-01-01T00:00:00Z")
    asked = {"confirmed": "yes", "given": moment.isoformat(), "reason": "once more"}
    preview = f"{reader.topic.name}/0: 2 → 1; 1 come again, of which 1 are known; 0 are skipped"
    for shown in ({}, {"shown": preview.replace("2 → 1", "9 → 1")}):
        answer = seek(**asked, **shown)
        assert preview in answer
        assert "Nothing has been done yet" in answer
    assert "Say why" in seek(**{**asked, "reason": ""}, shown=preview)
    assert reader.committed() == 2
    assert "1 records come again, 0 are skipped" in seek(**asked, shown=preview)
    assert reader.committed() == 1
    assert Act.objects.get(act="seek").via == "admin"
