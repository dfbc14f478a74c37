"""The chaos panel of a real demo: whatever is broken by it, nothing is lost, and the demo ends cleanly."""

from collections.abc import Callable, Iterator

import httpx
import psutil
import psycopg
import pytest

from tests.acceptance.demo.panel import Panel
from tests.acceptance.demo.running import RunningDemo
from tests.engine import until

Pay = Callable[[str], str]


@pytest.fixture(scope="module")
def panel(demo: RunningDemo) -> Iterator[Panel]:
    panel = Panel(demo)
    yield panel
    panel.close()


@pytest.fixture
def pay(demo: RunningDemo) -> Iterator[Pay]:
    """Has the demo's merchant make a payment and validate it; returns its id."""
    told = demo.read()
    headers = {"Authorization": f"Token {told['token']}"}
    with httpx.Client(base_url=told["url"], headers=headers, timeout=30) as client:

        def make(customer: str) -> str:
            body = {"customer_id": customer, "amount": "12.50", "currency": "EUR"}
            payment = client.post("/api/payments/", json=body).raise_for_status().json()
            client.post(f"/api/payments/{payment['id']}/validate/", json={}).raise_for_status()
            return str(payment["id"])

        yield make


def count(demo: RunningDemo, table: str, payment_id: str) -> int:
    with psycopg.connect(demo.read()["database"]) as database:
        query = f"SELECT count(*) FROM {table} WHERE payment_id = %s"
        (found,) = database.execute(query, [payment_id]).fetchone() or (0,)
    return int(found)


def test_a_stopped_consumer_stays_stopped_and_catches_up(demo: RunningDemo, panel: Panel, pay: Pay) -> None:
    before = demo.read()["processes"]
    panel.act("stop", "loyalty-1")
    until(lambda: panel.states()["loyalty-1"] == "stopped")
    assert not psutil.pid_exists(before["loyalty-1"])
    assert set(before) - set(demo.read()["processes"]) == {"loyalty-1"}
    payment = pay("while-stopped")
    until(lambda: count(demo, "orders_order", payment) == 1)
    assert count(demo, "loyalty_ledgerentry", payment) == 0
    assert panel.states()["loyalty-1"] == "stopped"
    panel.act("start", "loyalty-1")
    until(lambda: count(demo, "loyalty_ledgerentry", payment) == 1, seconds=60)
    after = demo.read()["processes"]
    assert set(after) == set(before)
    assert psutil.pid_exists(after["loyalty-1"])
    assert panel.states()["loyalty-1"] == "running"


def test_a_frozen_relay_sends_nothing_and_goes_on(demo: RunningDemo, panel: Panel, pay: Pay) -> None:
    pid = demo.read()["processes"]["relay-1"]
    panel.act("freeze", "relay-1")
    until(lambda: panel.states()["relay-1"] == "frozen")
    assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
    payment = pay("while-frozen")
    assert count(demo, "orders_order", payment) == 0
    panel.act("thaw", "relay-1")
    until(lambda: count(demo, "orders_order", payment) == 1, seconds=60)
    until(lambda: count(demo, "loyalty_ledgerentry", payment) == 1)
    assert panel.states()["relay-1"] == "running"


def test_a_killed_kafka_is_started_again_and_payments_go_on(
    demo: RunningDemo, panel: Panel, pay: Pay
) -> None:
    before = demo.read()["processes"]["kafka"]
    panel.act("kill", "kafka")
    payment = pay("while-dead")
    until(lambda: demo.read()["processes"]["kafka"] != before, seconds=60)
    until(lambda: panel.states()["kafka"] == "running")
    for effect in ("loyalty_ledgerentry", "orders_order"):
        until(lambda: count(demo, effect, payment) == 1, seconds=60)  # noqa: B023


def test_what_serves_the_panel_is_not_broken_by_it(demo: RunningDemo, panel: Panel) -> None:
    before = demo.read()["processes"]
    for name in ("web", "postgres", "nonsense"):
        assert panel.act("kill", name).status_code == 409
    assert panel.act("dance", "relay-1").status_code == 409
    assert demo.read()["processes"] == before


def test_a_poisoned_event_is_a_dead_letter_that_corrected_data_repairs(
    demo: RunningDemo, panel: Panel
) -> None:
    def rows(query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(demo.read()["database"]) as database:
            return database.execute(query).fetchall()

    panel.poison()
    letters = "SELECT consumer, type FROM outbox_dead_letter WHERE state = 'open'"
    until(lambda: rows("SELECT 1 FROM outbox_waiting_event"), seconds=60)
    assert rows(letters) == [("orders", "payments.PaymentValidated.v1")]


def test_a_demo_ends_cleanly_with_stopped_and_frozen_parts(demo: RunningDemo, panel: Panel) -> None:
    for verb, name in (
        ("stop", "orders-1"),
        ("stop", "beat"),
        ("freeze", "relay-1"),
        ("freeze", "loyalty-1"),
    ):
        panel.act(verb, name)
    panel.act("freeze", "kafka")
    until(lambda: panel.states()["orders-1"] == "stopped")
    assert demo.end() == 0
    assert demo.left() == []
    assert not demo.file.exists()
    for name in ("relay-1", "loyalty-1", "kafka"):
        assert f"{name} did not end" not in demo.log.read_text()
    assert not (demo.folder / "control.sock").exists()
    demo.start()
    assert {"orders-1", "beat"} <= set(demo.read()["processes"])
