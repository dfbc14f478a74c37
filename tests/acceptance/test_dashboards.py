"""However many dashboards are open, the database is asked as for one; and when they go, nothing stays."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.services import ensure_user
from devstack.ports import HOST
from devstack.stack import Stack
from tests.engine import until
from tests.walking import Route, routes
from tests.webserver import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 200
# Counters of a session reach the others within a second of its next statement.
WINDOW = 6.0
# Transactions a second. PostgreSQL's counters come in lumps, and a busy machine reads less often in one
# window than in the other; two hundred that read for themselves would ask for hundreds more.
SLACK = 25.0


@pytest.fixture
def web(stack: Stack, tmp_path: Path) -> Iterator[WebServer]:
    # Without a pool a connection is there for as long as somebody uses it, and can be counted.
    with WebServer(stack, tmp_path, DATABASE_POOL="false") as web:
        yield web


@pytest.fixture
def statistics(stack: Stack) -> Iterator[psycopg.Connection]:
    """A session in another database: what it asks is not counted in the test's own."""
    with psycopg.connect(stack.database_url, autocommit=True) as session:
        yield session


class Cost:
    """What the database has been asked by all but this process."""

    def __init__(self, session: psycopg.Connection) -> None:
        self._session = session
        self._name = connection.settings_dict["NAME"]
        connection.close()

    def transactions(self) -> int:
        return self._number("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s")

    def connections(self) -> int:
        return self._number("SELECT count(*) FROM pg_stat_activity WHERE datname = %s")

    def is_still(self) -> bool:
        """Whether nothing is asked for some seconds."""
        before = self.transactions()
        time.sleep(WINDOW / 2)
        return self.transactions() == before

    def _number(self, question: str) -> int:
        row = self._session.execute(question.encode(), [self._name]).fetchone()
        assert row is not None
        return int(row[0])


class Dashboards:
    """Streams of one kind, open at once; `heard` counts the messages of each."""

    def __init__(self, web: WebServer, path: str, cookie: str) -> None:
        self._web = web
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={cookie}\r\n\r\n".encode()
        )
        self.heard: Counter[int] = Counter()

    async def view(self, number: int) -> None:
        """As a browser does, until cancelled."""
        reader, writer = await asyncio.open_connection(HOST, self._web.port)
        try:
            writer.write(self._request)
            status = await reader.readline()
            assert b" 200 " in status, status
            while line := await reader.readline():
                self.heard[number] += line.startswith(b"event:")
        finally:
            writer.close()

    async def cost(self, count: int, cost: Cost) -> float:
        """Transactions a second while so many are open, all of which go on hearing."""
        views = [asyncio.create_task(self.view(number)) for number in range(count)]
        try:
            await self._all_hear(count)
            began, before = time.monotonic(), cost.transactions()
            self.heard.clear()
            await asyncio.sleep(WINDOW)
            asked, took = cost.transactions() - before, time.monotonic() - began
            await self._all_hear(count)
            return asked / took
        finally:
            for view in views:
                view.cancel()
            for ended in await asyncio.gather(*views, return_exceptions=True):
                assert isinstance(ended, asyncio.CancelledError), ended

    async def _all_hear(self, count: int) -> None:
        async with asyncio.timeout(90):
            while sum(1 for number in range(count) if self.heard[number]) < count:
                await asyncio.sleep(0.1)


def cookie_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return str(client.cookies["sessionid"].value)


# The chaos panel is the demo's alone, and asks no database.
STREAMS = [route for route in routes() if route.is_stream and route.name != "chaos-stream"]


@pytest.mark.parametrize("route", STREAMS, ids=lambda route: str(route.name))
def test_two_hundred_dashboards_cost_the_database_no_more_than_one_and_leave_nothing(
    route: Route, web: WebServer, statistics: psycopg.Connection
) -> None:
    admin = ensure_user(username="admin", password=None, is_staff=True, is_superuser=True)
    path = route.address({"name": "orders", "consumer": "orders", "topic": "payments"})
    cookie = cookie_of(admin)
    cost, process = Cost(statistics), psutil.Process(web.process.pid)
    until(cost.is_still, seconds=60)
    connections = cost.connections()

    def nothing_is_left() -> bool:
        open_requests = [each for each in process.net_connections("tcp") if each.laddr.port == web.port]
        return (
            cost.connections() == connections
            and [each.status for each in open_requests] == [psutil.CONN_LISTEN]
            and cost.is_still()
        )

    one = asyncio.run(Dashboards(web, path, cookie).cost(1, cost))
    until(nothing_is_left, seconds=60)
    many = asyncio.run(Dashboards(web, path, cookie).cost(MANY, cost))
    assert many <= one + SLACK, (many, one)
    assert one > 0
    until(nothing_is_left, seconds=60)
