"""/metrics over HTTP, and what it says of commands."""

import pytest
from django.test import Client

from tests.scraped import families, figure, figures

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENT = {"customer_id": "c-1", "amount": "12.50", "currency": "EUR"}
ASKED = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def page(client: Client) -> str:
    answer = client.get("/metrics", headers={"accept": ASKED})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.content.decode()


def commands(client: Client, command: str, result: str) -> float:
    found = figures(page(client))
    labels = {"command": command, "via": "request", "result": result}
    return figure(found, "eventsite_command_seconds_count", **labels)


def test_prometheus_is_answered_in_its_own_format(client: Client) -> None:
    found = families(page(client))
    assert {"outbox_database_up", "outbox_published_events", "process_cpu_seconds"} <= found.keys()


def test_commands_are_timed_by_route_and_result(client: Client) -> None:
    before = commands(client, "POST payment-list", "refused")
    client.post("/api/payments/", PAYMENT, content_type="application/json")  # of nobody
    assert commands(client, "POST payment-list", "refused") == before + 1


def test_addresses_that_do_not_exist_make_no_series(client: Client) -> None:
    client.post("/nowhere/0")
    before = len(figures(page(client)))
    for number in range(50):
        client.post(f"/nowhere/{number}")
        client.generic("BREW", f"/api/payments/{number}/")
    assert len(figures(page(client))) <= before + 40  # one method more at most: twenty buckets and two sums
    assert "nowhere" not in page(client)
