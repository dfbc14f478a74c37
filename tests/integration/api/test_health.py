"""Health, for those who look after the process."""

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from outbox import health
from outbox.kafka import Cluster
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
    assert set(answer["parts"]) == {"database", "migrations", "partitions", "kafka"}
    assert all(answer["parts"][name]["ok"] for name in ("database", "migrations", "partitions"))


def test_kafka_away_is_degraded_not_unready(client: Client, db: None, kafka_away: None) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["parts"]["kafka"] == {"ok": False, "detail": "Kafka does not answer."}


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


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
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
