"""However many dashboards are open, the database is asked as for one; and when they go, nothing stays."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

import psutil
import psycopg
import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.services import ensure_user
from devstack.ports import HOST
from devstack.stack import Stack
from tests.database_link import DatabaseLink
from tests.engine import until
from tests.walking import EVERYONES, Route, routes
from tests.webserver import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 200
WINDOW = 6.0
# How many statements all of them may cost, where one costs one: a second more or less of six, and no more.
MOST = 1.5
# A busy machine asks less often for a while, of one or of many.
TRIES = 3


class Cost:
    """What the web server asks of the database through a link, statement by statement."""

    def __init__(self, session: psycopg.Connection, link: DatabaseLink) -> None:
        self._session = session
        self._link = link
        self._name = connection.settings_dict["NAME"]
        connection.close()

    @property
    def statements(self) -> int:
        """How many it has had executed."""
        return self._link.executed

    def connections(self) -> int:
        # An autovacuum comes and goes as it likes.
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        )
        [(number,)] = self._session.execute(question, [self._name]).fetchall()
        return int(number)

    def is_still(self) -> bool:
        """Whether nothing is asked for some seconds."""
        before = self.statements
        time.sleep(WINDOW / 2)
        return self.statements == before


@pytest.fixture
def link(stack: Stack) -> Iterator[DatabaseLink]:
    with DatabaseLink(urlunsplit(database_of(stack))) as link:
        yield link


@pytest.fixture
def cost(stack: Stack, link: DatabaseLink) -> Iterator[Cost]:
    with psycopg.connect(stack.database_url, autocommit=True) as session:
        yield Cost(session, link)


@pytest.fixture
def web(stack: Stack, tmp_path: Path, link: DatabaseLink) -> Iterator[WebServer]:
    database = database_of(stack)
    address = f"{database.username}:{database.password or ''}@{HOST}:{link.port}"
    counted = urlunsplit(database._replace(netloc=address))
    # Without a pool a connection is there for as long as somebody uses it, and can be counted.
    with WebServer(stack, tmp_path, DATABASE_URL=counted, DATABASE_POOL="false") as web:
        yield web


def database_of(stack: Stack) -> SplitResult:
    return urlsplit(stack.database_url)._replace(path=f"/{connection.settings_dict['NAME']}")


class Dashboards:
    """Streams of one kind, open at once by these viewers in turn; `heard` counts the messages of each."""

    def __init__(self, web: WebServer, path: str, cookies: list[str]) -> None:
        self._web = web
        self._requests = [
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={cookie}\r\n\r\n".encode()
            for cookie in cookies
        ]
        self.heard: Counter[int] = Counter()

    async def view(self, number: int) -> None:
        """As a browser does, until cancelled."""
        reader, writer = await asyncio.open_connection(HOST, self._web.port)
        try:
            writer.write(self._requests[number % len(self._requests)])
            status = await reader.readline()
            assert b" 200 " in status, status
            while line := await reader.readline():
                self.heard[number] += line.startswith(b"event:")
        finally:
            writer.close()

    async def cost(self, count: int, cost: Cost) -> float:
        """Statements a second while so many are open, all of which go on hearing."""
        views = [asyncio.create_task(self.view(number)) for number in range(count)]
        try:
            await self._all_hear(count)
            began, before = time.monotonic(), cost.statements
            self.heard.clear()
            await asyncio.sleep(WINDOW)
            asked, took = cost.statements - before, time.monotonic() - began
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


def viewers_of(route: Route) -> list[User]:
    """An admin first; then those who only look, those who act, and merchants where they may look as well."""
    admin = ensure_user(username="admin", password=None, is_staff=True, is_superuser=True)
    groups = ["viewer"] * 3 + ["operator"] * 3 + (["merchant"] * 40 if route.name in EVERYONES else [])
    others = [
        ensure_user(username=f"{group}-{number}", password=None, groups=[group])
        for number, group in enumerate(groups)
    ]
    return [admin, *others]


# The chaos panel is the demo's alone, and asks no database.
STREAMS = [route for route in routes() if route.is_stream and route.name != "chaos-stream"]


@pytest.mark.parametrize("route", STREAMS, ids=lambda route: str(route.name))
def test_two_hundred_dashboards_cost_the_database_no_more_than_one_and_leave_nothing(
    route: Route, web: WebServer, cost: Cost
) -> None:
    path = route.address({"name": "orders", "consumer": "orders", "topic": "payments"})
    cookies = [cookie_of(user) for user in viewers_of(route)]
    connection.close()
    process = psutil.Process(web.process.pid)
    until(cost.is_still, seconds=60)
    connections = cost.connections()

    def nothing_is_left() -> bool:
        open_requests = [each for each in process.net_connections("tcp") if each.laddr.port == web.port]
        return (
            cost.connections() == connections
            and [each.status for each in open_requests] == [psutil.CONN_LISTEN]
            and cost.is_still()
        )

    costs = []
    for _ in range(TRIES):
        one = asyncio.run(Dashboards(web, path, cookies[:1]).cost(1, cost))
        until(nothing_is_left, seconds=60)
        many = asyncio.run(Dashboards(web, path, cookies).cost(MANY, cost))
        until(nothing_is_left, seconds=60)
        assert one > 0
        costs.append((many, one))
        if many <= MOST * one:
            return
    raise AssertionError(costs)
