"""The demo: ready with all it consists of, mends itself, and leaves nothing behind."""

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from outbox.registry import all_consumers
from tests.acceptance.demo.running import RunningDemo, environment
from tests.engine import until
from tests.scraped import families, scrape
from tests.servers import PROJECT

CONSUMERS = {f"{consumer.name}-1" for consumer in all_consumers()}
PARTS = {"relay-1", *CONSUMERS, "web", "worker", "beat", "kafka", "postgres"}


def test_demo_json_tells_how_to_reach_it(demo: RunningDemo) -> None:
    assert stat.S_IMODE(demo.file.stat().st_mode) == 0o600
    told = demo.read()
    assert set(told) == {
        *("url", "token", "merchant", "staff", "second_merchant_token", "kafka", "database", "processes")
    }
    assert set(told["processes"]) == PARTS
    assert all(psutil.pid_exists(pid) for pid in told["processes"].values())
    assert httpx.get(f"{told['url']}/readyz").json()["status"] == "ready"
    with psycopg.connect(told["database"]) as connection:
        (staff,) = connection.execute(
            "SELECT id FROM accounts_user WHERE username = %s AND is_superuser", [told["staff"]["username"]]
        ).fetchone() or (None,)
    assert staff is not None


def test_a_payment_leads_to_an_order_and_points(demo: RunningDemo) -> None:
    told = demo.read()
    merchant = httpx.Client(base_url=told["url"], headers={"Authorization": f"Token {told['token']}"})
    other = httpx.Client(
        base_url=told["url"], headers={"Authorization": f"Token {told['second_merchant_token']}"}
    )
    with merchant, other:
        body = {"customer_id": "first-visitor", "amount": "12.50", "currency": "EUR"}
        payment = merchant.post("/api/payments/", json=body).raise_for_status().json()
        merchant.post(f"/api/payments/{payment['id']}/validate/", json={}).raise_for_status()

        def orders() -> list[dict[str, object]]:
            found = merchant.get("/api/orders/", params={"payment": payment["id"]}).raise_for_status()
            results: list[dict[str, object]] = found.json()["results"]
            return results

        assert len(until(orders)) == 1
        until(lambda: merchant.get("/api/loyalty/accounts/first-visitor/").is_success)
        assert other.get(f"/api/payments/{payment['id']}/").status_code == 404


def test_every_process_of_its_own_tells_its_metrics_where_it_says(demo: RunningDemo) -> None:
    said = demo.log.read_text().partition("/metrics at the ports of")[2]
    ports = dict(re.findall(rf"({'|'.join(sorted(PARTS))})[\s│]+(\d+)", said))
    assert set(ports) == PARTS - {"kafka", "postgres"}
    for name, port in ports.items():
        found = families(scrape(f"http://127.0.0.1:{port}/metrics"))
        assert "outbox_processed_events" in found, name
        assert ("outbox_database_up" in found) == (name in {"web", "relay-1"}), name


@pytest.mark.parametrize("name", sorted(PARTS))
def test_a_part_that_is_killed_is_started_again(demo: RunningDemo, name: str) -> None:
    before = demo.read()["processes"]
    os.kill(before[name], signal.SIGKILL)
    until(lambda: demo.read()["processes"][name] != before[name], seconds=60)
    after = demo.read()["processes"]
    assert psutil.pid_exists(after[name])
    assert {part: pid for part, pid in after.items() if part != name} == {
        part: pid for part, pid in before.items() if part != name
    }
    assert stat.S_IMODE(demo.file.stat().st_mode) == 0o600


def test_a_second_demo_in_the_same_folder_is_refused_in_words(demo: RunningDemo) -> None:
    second = subprocess.run(
        [sys.executable, "manage.py", "demo", "--folder", str(demo.folder)],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert second.returncode == 1
    assert "another demo is already running here" in second.stderr
    assert "Traceback" not in second.stderr
    assert set(demo.read()["processes"]) == PARTS


def test_a_killed_demo_leaves_nothing_and_the_next_one_has_the_same_accounts(demo: RunningDemo) -> None:
    first = demo.read()
    demo.kill()
    until(lambda: not demo.left(), seconds=20)

    demo.start()
    second = demo.read()
    assert (second["token"], second["staff"]) == (first["token"], first["staff"])
    assert not set(first["processes"].values()) & set(second["processes"].values())
    assert len(demo.left()) >= len(PARTS)
    assert stat.S_IMODE((demo.folder / "accounts.json").stat().st_mode) == 0o600


def test_a_demo_that_is_told_to_end_while_it_starts_leaves_nothing(folder: Path) -> None:
    log = folder.with_name("log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--folder", str(folder)],
            cwd=PROJECT,
            env=environment(),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until(lambda: "Starting" in log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    assert not (folder / "demo.json").exists()
