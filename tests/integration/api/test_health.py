"""Health, for those who look after the process."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from pytest_django import Settings

from contracts.money import Money
from outbox import clock, health, pausing
from outbox.alerts.alarms import Watch
from outbox.ids import new_id
from outbox.kafka import Cluster
from outbox.positions import Member
from outbox.registry import all_consumers
from outbox.relay import Relay
from outbox.tasks import sample_lag
from payments.services import request_payment
from tests.engine import Running, until
from tests.integration.api.answers import problem_of


@pytest.fixture
def kafka_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that nobody reaches: a real client of a port where nothing listens."""
    cluster = Cluster({"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}, timeout=0.5)
    monkeypatch.setattr(health, "_cluster", lambda: cluster)


def test_the_process_answers_without_asking_anyone(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_every_part_is_asked(client: Client, db: None) -> None:
    answer = client.get("/readyz").json()
    assert set(answer["parts"]) == {
        *("database", "migrations", "partitions", "relay", "consumers", "tasks", "kafka")
    }
    assert all(answer["parts"][name]["ok"] for name in ("database", "migrations", "partitions"))


def test_kafka_away_is_degraded_not_unready(client: Client, db: None, kafka_away: None) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["parts"]["kafka"] == {"ok": False, "detail": "Kafka does not answer."}


def test_periodic_tasks_that_have_ceased_are_degraded(client: Client, db: None) -> None:
    def part() -> dict[str, object]:
        found: dict[str, object] = client.get("/readyz").json()["parts"]["tasks"]
        return found

    assert part() == {"ok": True, "detail": "no periodic task has run yet"}
    sample_lag()
    assert part() == {"ok": True, "detail": "periodic tasks run"}
    Watch.objects.update(tasks_at=F("tasks_at") - timedelta(minutes=2))
    ceased = part()
    assert ceased["ok"] is False
    assert re.fullmatch(
        r"none has run for 12\d s: start Celery's worker and its beat\.", str(ceased["detail"])
    )


def test_periodic_tasks_that_have_never_run_are_degraded_after_a_while(client: Client, db: None) -> None:
    def part() -> tuple[bool, str]:
        found = client.get("/readyz").json()["parts"]["tasks"]
        return found["ok"], found["detail"]

    Watch.objects.create(begun_at=clock.now() - timedelta(minutes=4))
    assert part() == (True, "no periodic task has run yet")
    Watch.objects.update(begun_at=clock.now() - timedelta(minutes=6))
    ok, detail = part()
    assert not ok
    assert re.fullmatch(r"none has run for 36\d s: start Celery's worker and its beat\.", detail)


def test_missing_partitions_are_unready(client: Client, db: None, kafka_away: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox_event'::regclass"
        )
        for (partition,) in cursor.fetchall():
            cursor.execute(f"DROP TABLE {partition}")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unready")
    assert not answer.json()["parts"]["partitions"]["ok"]


def parts(client: Client) -> dict[str, dict[str, object]]:
    answer = client.get("/readyz")
    # Payments are taken all the same.
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    found: dict[str, dict[str, object]] = answer.json()["parts"]
    return found


@pytest.mark.django_db(transaction=True)
def test_a_relay_that_is_missing_is_named(client: Client, kafka_away: None) -> None:
    assert parts(client)["relay"] == {
        "ok": False,
        "detail": "No relay runs: what is published waits in the outbox. Start manage.py run_relay.",
    }
    with Running(lambda stop: Relay(stop=stop)):
        until(lambda: parts(client)["relay"]["ok"])
        assert parts(client)["relay"]["detail"] == "all 8 shards have a relay; there are 1"


def test_shards_and_events_that_a_relay_leaves_are_named(client: Client, db: None, kafka_away: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE outbox_shard SET owner = 'one', expires_at = now() + interval '1 hour'")
        cursor.execute("UPDATE outbox_shard SET expires_at = now() - interval '1 hour' WHERE shard > 4")
        assert str(parts(client)["relay"]["detail"]).startswith("3 of 8 shards have no relay")
        cursor.execute("UPDATE outbox_shard SET expires_at = now() + interval '1 hour'")
        money = Money(1250, "EUR")
        request_payment(merchant_id=uuid4(), customer_id="c-1", money=money, at=clock.now())
        assert parts(client)["relay"]["ok"]
        # Written two minutes ago, as its id says.
        cursor.execute("SET LOCAL session_replication_role = replica")
        old = new_id(clock.now() - timedelta(minutes=2))
        cursor.execute("UPDATE outbox_event SET id = %s", [old])
    told = parts(client)["relay"]
    assert not told["ok"]
    assert re.match(r"An event has waited for 12\d s: see whether Kafka answers", str(told["detail"]))


def test_a_consumer_that_is_missing_or_paused_is_named(client: Client, db: None, kafka_away: None) -> None:
    first, second, third, *_ = all_consumers()
    for consumer in all_consumers()[1:]:
        Member.objects.create(consumer=consumer.name, name="host:1", partitions=[["payments", 0]])
    pausing.pause(consumer=second, by="olga")
    pausing.pause(consumer=third, by=pausing.ITSELF, reason="a secret")
    assert parts(client)["consumers"] == {
        "ok": False,
        "detail": f"{first.name}: no instance runs; {second.name}: paused by an operator;"
        f" {third.name}: paused by itself",
    }
    Member.objects.create(consumer=first.name, name="host:1", partitions=[["payments", 0]])
    for consumer in (second, third):
        pausing.resume(consumer=consumer, by="olga")
    assert parts(client)["consumers"]["ok"]
    Member.objects.filter(consumer=third.name).update(partitions=[])
    assert parts(client)["consumers"]["detail"] == f"{third.name}: its instances read nothing"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1", "", "unix"])
def test_strangers_are_told_nothing(client: Client, path: str, address: str) -> None:
    problem_of(client.get(path, REMOTE_ADDR=address), 403)


@pytest.mark.parametrize(
    ("address", "networks", "may"),
    [
        ("127.0.0.1", [], True),
        ("127.8.8.8", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("10.1.2.3", [], False),
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("::ffff:10.1.2.3", ["10.0.0.0/8"], True),
        ("2001:db8::1", ["2001:db8::/32", "10.0.0.0/8"], True),
        (None, [], False),
    ],
)
def test_who_may_ask(settings: Settings, address: str, networks: list[str], may: bool) -> None:
    settings.HEALTH_ALLOWED_ADDRESSES = networks
    assert health.may_ask(address) is may
