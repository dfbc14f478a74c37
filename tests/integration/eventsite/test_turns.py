"""Whose turn it is, on a real server: who waits holds no thread, and health is told meanwhile."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.db import connection

from accounts.services import ensure_token, ensure_user
from devstack.ports import HOST
from devstack.stack import Stack
from eventsite.handler import CONCURRENT
from payments.models import Payment
from tests.webserver import WebServer

pytestmark = pytest.mark.django_db(transaction=True)
PAYMENT = {"customer_id": "c-1", "amount": "1.00", "currency": "EUR"}


@pytest.fixture
def token(db: None) -> str:
    return ensure_token(user=ensure_user(username="first", password=None, groups=["merchant"]))


async def ask(
    server: WebServer, method: str, path: str, token: str, body: Any = None, key: str | None = None
) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection(HOST, server.port)
    try:
        sent = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", f"Authorization: Token {token}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(sent)}", "Connection: close"]
        lines += [] if key is None else [f"Idempotency-Key: {key}"]
        writer.write("\r\n".join([*lines, "", ""]).encode() + sent)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


@contextmanager
def locked(stack: Stack, statement: str, *parameters: Any) -> Iterator[psycopg.Connection]:
    """Rows locked from outside, until the block ends."""
    database = stack.database_url.rsplit("/", 1)[0]
    with psycopg.connect(f"{database}/{connection.settings_dict['NAME']}") as outside:
        outside.execute(statement, parameters)
        yield outside
        outside.rollback()


def test_hundreds_of_twins_hold_no_threads_and_keep_nobody_from_health(
    stack: Stack, tmp_path: Path, token: str
) -> None:
    async def scene(server: WebServer) -> tuple[list[tuple[int, dict[str, Any]]], list[int]]:
        process, threads = psutil.Process(server.process.pid), []
        twins = [
            asyncio.create_task(ask(server, "POST", "/api/payments/", token, PAYMENT, key="one"))
            for _ in range(400)
        ]
        async with asyncio.timeout(60):
            while not all(twin.done() for twin in twins):
                assert (await ask(server, "GET", "/healthz", token))[0] == 200
                threads.append(process.num_threads())
            return await asyncio.gather(*twins), threads

    with WebServer(stack, tmp_path) as server:
        answers, threads = asyncio.run(scene(server))
    assert [status for status, _ in answers] == [201] * 400
    assert len({answer["id"] for _, answer in answers}) == 1
    assert Payment.objects.count() == 1
    # Eight have their turn, four are for health, one for streams; the pool and the driver have a few.
    assert max(threads) <= 30, threads
    assert "Traceback" not in server.log()


def test_requests_that_wait_for_a_lock_give_up_and_keep_nobody_from_health(
    stack: Stack, tmp_path: Path, token: str
) -> None:
    async def scene(server: WebServer, path: str) -> list[tuple[int, dict[str, Any]]]:
        blocked = [asyncio.create_task(ask(server, "POST", path, token, {})) for _ in range(CONCURRENT)]
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(lambda: waiting() >= CONCURRENT):
                await asyncio.sleep(0.02)
            for health in ("/healthz", "/readyz"):
                assert (await ask(server, "GET", health, token))[0] == 200
            assert not any(task.done() for task in blocked)
            return await asyncio.gather(*blocked)

    def waiting() -> int:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                return int(cursor.fetchone()[0])
        finally:
            connection.close()

    with WebServer(stack, tmp_path, DATABASE_LOCK_TIMEOUT="4") as server:
        _, made = asyncio.run(ask(server, "POST", "/api/payments/", token, PAYMENT))
        with locked(stack, "SELECT FROM payments_payment WHERE id = %s FOR UPDATE", made["id"]):
            answers = asyncio.run(scene(server, f"/api/payments/{made['id']}/validate/"))
        status, _ = asyncio.run(ask(server, "POST", f"/api/payments/{made['id']}/validate/", token, {}))
    assert Counter(status for status, _ in answers) == {503: CONCURRENT}
    assert {answer["code"] for _, answer in answers} == {"service_unavailable"}
    assert status == 200


def test_what_takes_the_database_too_long_is_given_up(stack: Stack, tmp_path: Path, token: str) -> None:
    with WebServer(stack, tmp_path, DATABASE_STATEMENT_TIMEOUT="1") as server:
        with locked(stack, "LOCK TABLE payments_payment IN ACCESS EXCLUSIVE MODE"):
            status, answer = asyncio.run(ask(server, "GET", "/api/payments/", token))
        assert (status, answer["code"]) == (503, "service_unavailable")
        assert asyncio.run(ask(server, "GET", "/api/payments/", token))[0] == 200
