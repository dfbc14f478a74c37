"""`?wait=`: the answer comes when consumers are done, and five hundred who wait cost next to nothing."""

import asyncio
import json
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.test import AsyncClient
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.services import ensure_token
from devstack.ports import HOST
from devstack.stack import Stack
from outbox import clock
from outbox.models import InboxEntry, Outcome
from outbox.registry import subscribers
from tests.engine import until
from tests.integration.api.answers import MakePayment, problem_of, refused_fields
from tests.webserver import WebServer


def receive(event_ids: list[str], *, outcome: str = Outcome.PROCESSED, topic: str = "payments") -> None:
    """What consumers write when they are done."""
    now = clock.now()
    InboxEntry.objects.bulk_create(
        InboxEntry(
            event_id=UUID(event_id),
            consumer=consumer.name,
            generation=1,
            topic=topic,
            partition=0,
            offset=offset,
            type="payments.PaymentRequested.v1",
            outcome=outcome,
            occurred_at=now - timedelta(seconds=1),
            processed_at=now,
        )
        for offset, event_id in enumerate(event_ids)
        for consumer in subscribers(topic)
    )


def statuses(body: dict[str, Any]) -> set[str]:
    return {reception["status"] for reception in body["consumers"]}


@pytest.mark.parametrize(
    "wait", ["", "x", "-1", "60.01", "61", "nan", "inf", "1e9", "1_0", " 1", "1,5", "٣", "9" * 400]
)
def test_a_wait_that_is_none_is_refused(api: APIClient, make_payment: MakePayment, wait: str) -> None:
    made = make_payment()
    assert refused_fields(api.get(f"/api/events/{made['event_id']}/", {"wait": wait})) == {"wait"}


@pytest.mark.parametrize(
    ("query", "field"), [("wiat=5", "wiat"), ("wait=0&page=1", "page"), ("wait=0&wait=1", "wait")]
)
def test_parameters_that_there_are_not_and_repeated_ones_are_refused(
    api: APIClient, make_payment: MakePayment, query: str, field: str
) -> None:
    made = make_payment()
    assert refused_fields(api.get(f"/api/events/{made['event_id']}/?{query}")) == {field}


def test_who_waits_pays_once(api: APIClient, make_payment: MakePayment, settings: Settings) -> None:
    made = make_payment()
    settings.API_RATE_PER_SECOND, settings.API_BURST = 0.01, 2
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM rest_budget")
    where = f"/api/events/{made['event_id']}/?wait=0.05"
    assert [api.get(where).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("wait", ["0", "0.0", "-0.0", "0.05", "5e-2", "60", "60.0"])
@pytest.mark.parametrize("outcome", ["processed", "unhandled", "dead", "discarded"])
def test_an_event_that_consumers_are_done_with_is_answered_at_once(
    api: APIClient, make_payment: MakePayment, wait: str, outcome: str
) -> None:
    made = make_payment()
    receive([made["event_id"]], outcome=outcome)
    answer = api.get(f"/api/events/{made['event_id']}/", {"wait": wait})
    assert statuses(answer.json()) == {outcome}


def test_anothers_event_is_not_found_at_once(other_api: APIClient, make_payment: MakePayment) -> None:
    made = make_payment()
    problem_of(other_api.get(f"/api/events/{made['event_id']}/", {"wait": "60"}), 404)
    problem_of(other_api.get(f"/api/events/{uuid4()}/", {"wait": "60"}), 404)


@pytest.mark.parametrize("outcome", [None, "parked"])
def test_the_time_over_it_is_answered_as_it_is(
    api: APIClient, make_payment: MakePayment, outcome: str | None
) -> None:
    made = make_payment()
    if outcome is not None:
        receive([made["event_id"]], outcome=outcome)
    answer = api.get(f"/api/events/{made['event_id']}/", {"wait": "0.1"})
    assert statuses(answer.json()) == {outcome or "pending"}


@pytest.mark.django_db(transaction=True)
async def test_a_user_who_is_disabled_meanwhile_learns_nothing(
    merchant: User, make_payment: MakePayment
) -> None:
    made = await sync_to_async(make_payment)()
    token = await sync_to_async(ensure_token)(user=merchant)
    client = AsyncClient(headers={"Authorization": f"Token {token}"})
    waiting = asyncio.create_task(client.get(f"/api/events/{made['event_id']}/?wait=20"))
    await asyncio.sleep(0.2)
    merchant.is_active = False
    await merchant.asave()
    await sync_to_async(receive)([made["event_id"]])
    async with asyncio.timeout(10):
        assert (await waiting).status_code == 401
    await sync_to_async(connections.close_all)()


async def ask(server: WebServer, token: str, path: str) -> tuple[int, dict[str, Any]]:
    """One request over a connection of its own, by the protocol: no client keeps a thread for it."""
    reader, writer = await asyncio.open_connection(HOST, server.port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Token {token}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def connections_of(database: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()", [database]
        )
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_five_hundred_wait_without_threads_and_connections(
    stack: Stack, tmp_path: Path, merchant: User, make_payment: MakePayment
) -> None:
    made = [make_payment()["event_id"] for _ in range(50)]
    settled = make_payment()["event_id"]
    receive([settled])
    token = ensure_token(user=merchant)
    database = str(connection.settings_dict["NAME"])

    async def scene(server: WebServer) -> tuple[list[tuple[int, dict[str, Any]]], list[int], list[int]]:
        process = psutil.Process(server.process.pid)
        waiting = [
            asyncio.create_task(ask(server, token, f"/api/events/{made[number % 50]}/?wait=60"))
            for number in range(500)
        ]
        threads, opened = [], []
        # Whoever asks after them is answered after the first look of each of them.
        for _ in range(10):
            status, body = await ask(server, token, f"/api/events/{settled}/?wait=60")
            assert (status, statuses(body)) == (200, {"processed"})
            threads.append(process.num_threads())
            opened.append(await asyncio.to_thread(count))
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(finish)
        async with asyncio.timeout(30):
            return await asyncio.gather(*waiting), threads, opened

    def count() -> int:
        try:
            return connections_of(database)
        finally:
            connection.close()

    def finish() -> None:
        try:
            receive(made)
        finally:
            connection.close()

    with WebServer(stack, tmp_path) as server:
        answers, threads, opened = asyncio.run(scene(server))
    assert [status for status, _ in answers] == [200] * 500
    assert {status for _, body in answers for status in statuses(body)} == {"processed"}
    assert [body["id"] for _, body in answers] == made * 10
    # Four look, one watches, one serves all that is asynchronous; the pool and the driver have a few.
    assert max(threads) <= 30, threads
    assert max(opened) <= 10, opened
    assert "Traceback" not in server.log()


@pytest.mark.django_db(transaction=True)
def test_a_server_that_stops_answers_who_waits(
    stack: Stack, tmp_path: Path, merchant: User, make_payment: MakePayment
) -> None:
    made, token = make_payment()["event_id"], ensure_token(user=merchant)

    async def scene(server: WebServer) -> tuple[int, dict[str, Any]]:
        waiting = asyncio.create_task(ask(server, token, f"/api/events/{made}/?wait=60"))
        await ask(server, token, f"/api/events/{made}/?wait=0.2")
        assert not waiting.done()
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            return await waiting

    with WebServer(stack, tmp_path) as server:
        status, body = asyncio.run(scene(server))
        until(lambda: server.process.poll() is not None, seconds=10)
    assert (status, statuses(body)) == (200, {"pending"})
