"""Consumers over REST, and as a table in the terminal."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from outbox.alerts.alarms import Alarm
from outbox.positions import LagSample, Member, PartitionEnd, Position
from outbox.registry import all_consumers
from tests.integration.api.answers import problem_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def behind() -> None:
    """Orders: two instances, one of them idle; 30 events behind in one partition."""
    now = datetime.now(UTC)
    busy = [["payments", 0], ["payments", 1]]
    Member.objects.create(consumer="orders", name="host:1", partitions=busy, seen_at=now)
    Member.objects.create(consumer="orders", name="host:2", partitions=[], seen_at=now)
    Member.objects.create(
        consumer="orders", name="gone:3", partitions=[], seen_at=now - timedelta(seconds=30)
    )
    for partition, reached, end in ((0, 70, 100), (1, 50, 50)):
        Position.objects.create(
            consumer="orders", topic="payments", partition=partition, reached=reached,
            occurred_at=now - timedelta(seconds=9), processed_at=now - timedelta(seconds=1),
            clear_until=now - timedelta(seconds=9),
        )  # fmt: skip
        PartitionEnd.objects.create(topic="payments", partition=partition, next_offset=end)
    LagSample.objects.create(
        consumer="orders",
        at=now - timedelta(seconds=50),
        events=40,
        seconds=3,
        produced=100,
        processed=20,
        members=2,
    )
    Alarm.objects.create(subject="orders", cause="late", since=now - timedelta(minutes=3))


@pytest.mark.usefixtures("behind")
def test_members_partitions_lag_and_rates_are_shown(staff_api: APIClient) -> None:
    answer = staff_api.get("/api/consumers/orders/").json()
    assert [(one["name"], one["idle"], one["silent"]) for one in answer["members"]] == [
        ("host:1", False, False),
        ("host:2", True, False),
    ]
    assert answer["members"][0]["partitions"] == [
        {"topic": "payments", "partition": 0},
        {"topic": "payments", "partition": 1},
    ]
    first, second = answer["partitions"][:2]
    assert (first["offset"], first["end"], first["lag_events"], first["member"]) == (70, 100, 30, "host:1")
    assert 9 <= first["lag_seconds"] < 60
    assert first["delay_seconds"] == pytest.approx(8)
    assert (second["lag_events"], second["lag_seconds"]) == (0, 0)
    assert answer["lag_events"] == 30
    assert answer["lag_seconds"] >= 9
    assert answer["sync_delay_limit"] == 5
    assert 0.8 <= answer["rate_in"] <= 1.0
    assert 1.7 <= answer["rate_out"] <= 2.0
    assert 27 < answer["catch_up_seconds"] < 36
    assert [alarm["cause"] for alarm in answer["alarms"]] == ["late"]


@pytest.mark.usefixtures("behind")
def test_one_that_has_gone_silent_is_told_from_the_one_that_reads_instead(staff_api: APIClient) -> None:
    Member.objects.filter(name="host:1").update(seen_at=datetime.now(UTC) - timedelta(seconds=5))
    Member.objects.filter(name="host:2").update(partitions=[["payments", 0]], seen_at=datetime.now(UTC))
    answer = staff_api.get("/api/consumers/orders/").json()
    assert [
        (one["name"], one["silent"], one["idle"], [place["partition"] for place in one["partitions"]])
        for one in answer["members"]
    ] == [("host:1", True, False, [1]), ("host:2", False, False, [0])]
    assert [one["member"] for one in answer["partitions"][:2]] == ["host:2", "host:1"]


def test_all_are_listed_also_those_that_never_ran(viewer_api: APIClient) -> None:
    answer = viewer_api.get("/api/consumers/").json()
    assert [one["name"] for one in answer] == [consumer.name for consumer in all_consumers()]
    assert all(one["members"] == [] and one["rate_in"] is None for one in answer)


def test_what_is_not_known_is_null(viewer_api: APIClient) -> None:
    Position.objects.create(consumer="orders", topic="payments", partition=0, reached=4)
    answer = viewer_api.get("/api/consumers/orders/").json()
    assert (answer["lag_events"], answer["lag_seconds"], answer["catch_up_seconds"]) == (None, None, None)
    [part] = [one for one in answer["partitions"] if one["topic"] == "payments" and one["partition"] == 0]
    assert (part["offset"], part["end"], part["lag_events"], part["lag_seconds"]) == (4, None, None, None)
    schema = viewer_api.get("/api/schema/", headers={"accept": "application/json"}).json()
    for name in ("ConsumerOutput", "PartitionOutput"):
        told = schema["components"]["schemas"][name]["properties"]
        assert told["lag_events"]["nullable"]
        assert told["lag_seconds"]["nullable"]


def test_merchants_are_told_nothing(api: APIClient) -> None:
    problem_of(api.get("/api/consumers/"), 403)
    problem_of(api.get("/api/consumers/orders/"), 403)


def test_one_that_is_not_declared_is_not_found(staff_api: APIClient) -> None:
    assert "'invoices'" in problem_of(staff_api.get("/api/consumers/invoices/"), 404)["detail"]


@pytest.mark.usefixtures("behind")
def test_the_terminal_shows_the_same() -> None:
    output = StringIO()
    call_command("consumers", "list", stdout=output)
    shown = output.getvalue()
    assert "lag: 30 events" in shown
    assert "ALARM: late since" in shown
    assert "host:2 is idle" in shown
    assert "gone:3" not in shown
    assert "no instance runs" in shown  # of the others
