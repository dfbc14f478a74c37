"""A page that stays up to date: read once for all who watch, and told to each what has changed."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import AsyncRequestFactory

from accounts.models import User
from accounts.services import ensure_user
from dashboard import asking, live
from dashboard.alerts import count
from dashboard.alerts.selectors import count_present
from dashboard.asking import TooSlow, Turns, one_look
from dashboard.live import LivePage, Read, Regions, live_stream
from outbox.alerts.alarms import Alarm
from tests.integration.dashboard.test_sampler import backends, in_thread

pytestmark = pytest.mark.django_db(transaction=True)

INTERVAL = 0.1


class Source:
    """What a page shows: an answer to each question, read from the database."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []
        self.backend = 0
        self.value = "1"
        self.statement = "SELECT pg_backend_pid()"
        self.sleeps = False
        self.sleep: Read[str] = Turns(self._awake).read

    def read(self, questions: Collection[str]) -> Mapping[str, Regions | TooSlow]:
        self.asked.append(frozenset(questions))
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(self.statement)
            self.backend = cursor.fetchone()[0]
        return {each: {"figures": f"{each}: {self.value}", "still": "the same"} for each in questions}

    def _awake(self, question: str) -> Regions:
        if not self.sleeps or question == "one":
            return {}
        with one_look(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")
        return {}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def page(source: Source) -> AsyncIterator[LivePage[str]]:
    parts: dict[str, Read[str]] = {"figures": source.read, "sleeper": source.sleep}
    page = LivePage("tested", parts, interval=INTERVAL)
    yield page
    assert not page.running
    assert page.viewers == 0


@pytest.fixture
async def staff(db: None) -> User:
    return await in_thread(lambda: ensure_user(username="staff", password=None, is_staff=True))


async def opened(page: LivePage[str], user: User | None, question: str | None = "one") -> HttpResponseBase:
    """The answer to a browser in which this user is signed in."""
    request = AsyncRequestFactory().get("/somewhere/stream/")

    async def auser() -> Any:
        from django.contrib.auth.models import AnonymousUser

        return user or AnonymousUser()

    request.auser = auser
    return await live_stream(request, page, lambda _: question)


class Stream:
    """The messages of an answer, one after the other."""

    def __init__(self, answer: HttpResponseBase) -> None:
        assert isinstance(answer, StreamingHttpResponse)
        assert answer.headers["Content-Type"] == "text/event-stream"
        self._parts: Any = answer.streaming_content
        self.badge = ""

    async def __aenter__(self) -> "Stream":
        assert (await anext(self._parts)).startswith(b"retry: ")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    async def next(self) -> dict[str, Any]:
        """The next message, without the navigation's badge, which all pages have."""
        told = await self.next_of_all()
        self.badge = told["regions"].pop("alarm-count", self.badge)
        return told

    async def next_of_all(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            part = (await anext(self._parts)).decode()
        name, data = part.strip().split("\n")
        assert name == "event: regions"
        return dict(json.loads(data.removeprefix("data: ")))

    async def until_changed(self) -> dict[str, str]:
        """The regions of the next message that has any."""
        while not (regions := (await self.next())["regions"]):
            pass
        return dict(regions)


async def test_many_viewers_are_told_from_one_read(page: LivePage[str], source: Source, staff: User) -> None:
    seen: list[list[str]] = []

    async def view(question: str) -> None:
        async with Stream(await opened(page, staff, question)) as stream:
            seen.append([(await stream.next())["at"] for _ in range(6)])
            assert question in source.asked[-1]

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(view(f"question-{number % 3}"))
    moments = {at for mine in seen for at in mine}
    assert len(seen) == 30
    # Where a reading takes longer than usual, the last one is told once more.
    assert all(mine == sorted(mine) and len(set(mine)) > 1 for mine in seen)
    assert len(source.asked) <= len(moments) + 2
    assert max(map(len, source.asked)) == 3


async def test_the_badge_of_alarms_is_counted_once_for_all_and_told_when_it_changes(
    page: LivePage[str], staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def present() -> tuple[int, bool]:
        nonlocal asked
        asked += 1
        return count_present()

    count.forget()
    monkeypatch.setattr(count, "count_present", present)
    monkeypatch.setattr(count, "SECONDS", 1.0)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        answers = [await opened(page, staff, f"question-{number}") for number in range(8)]
        streams = [await stack.enter_async_context(Stream(answer)) for answer in answers]
        for stream in streams:
            await stream.next()
        assert {stream.badge for stream in streams} == {""}
        assert asked <= 2
        await in_thread(lambda: Alarm.objects.create(subject="orders", cause="late", severity="critical"))
        for stream in streams:
            while not stream.badge:
                await stream.next()
            assert stream.badge == '<span class="count" data-state="bad">1</span>'
    count.forget()


async def test_each_is_told_the_answer_to_its_own_question_and_only_what_changed(
    page: LivePage[str], source: Source, staff: User
) -> None:
    async with (
        Stream(await opened(page, staff, "one")) as one,
        Stream(await opened(page, staff, "two")) as two,
    ):
        assert await one.until_changed() == {"figures": "one: 1", "still": "the same"}
        assert await two.until_changed() == {"figures": "two: 1", "still": "the same"}
        assert (await one.next())["regions"] == {}
        source.value = "2"
        assert await one.until_changed() == {"figures": "one: 2"}
        assert await two.until_changed() == {"figures": "two: 2"}


async def test_it_is_told_since_when_the_database_is_away_and_when_it_is_back(
    page: LivePage[str], source: Source, staff: User
) -> None:
    async with asyncio.timeout(60), Stream(await opened(page, staff)) as stream:
        assert (await stream.until_changed())["figures"] == "one: 1"
        await in_thread(terminate, source.backend)
        while not (told := await stream.next())["away"]:
            assert told["regions"] == {}
        since = told["away"]
        assert told["regions"] == {}
        source.value = "2"
        while (told := await stream.next())["away"]:
            assert told["away"] == since
        assert told["regions"] == {"figures": "one: 2"}


async def test_a_part_that_takes_too_long_is_not_known_and_all_else_stays_live(
    page: LivePage[str], source: Source, staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "REST", 0.5)
    source.sleeps = True
    async with (
        asyncio.timeout(90),
        Stream(await opened(page, staff, "one")) as one,
        Stream(await opened(page, staff, "two")) as two,
    ):
        while not (told := await two.next())["slow"]:
            assert not told["away"]
        since = told["slow"]
        assert set(since) == {"sleeper"}
        for number in range(5):
            source.value = str(number)
            assert (await one.until_changed())["figures"] == f"one: {number}"
        for _ in range(40):
            told = await two.next()
            assert (told["away"], told["slow"]) == (None, since)
            told = await one.next()
            assert (told["away"], told["slow"]) == (None, {})
        source.sleeps = False
        while (await two.next())["slow"]:
            pass


async def test_a_shared_part_that_takes_too_long_is_not_known_to_anybody(
    page: LivePage[str], source: Source, staff: User
) -> None:
    source.statement = "SET LOCAL statement_timeout = 200; SELECT pg_sleep(60)"
    async with asyncio.timeout(60), Stream(await opened(page, staff)) as stream:
        while not (told := await stream.next())["slow"]:
            assert not told["away"]
        assert set(told["slow"]) == {"figures"}
        assert told["regions"] == {}


def terminate(backend: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [backend])


async def test_a_mistake_of_ours_ends_the_stream(page: LivePage[str], source: Source, staff: User) -> None:
    source.statement = "SELECT nothing FROM outbox_event"
    async with Stream(await opened(page, staff)) as stream:
        with pytest.raises(Exception, match="nothing"):
            await stream.next()


async def test_who_may_not_look_is_told_nothing(page: LivePage[str], source: Source, staff: User) -> None:
    merchant = await in_thread(lambda: ensure_user(username="merchant", password=None))
    assert (await opened(page, None)).status_code == 401
    assert (await opened(page, merchant)).status_code == 403
    assert (await opened(page, staff, None)).status_code == 400
    assert not source.asked
    assert not page.running


async def test_the_last_to_leave_ends_it_with_its_task_and_its_connection(
    page: LivePage[str], source: Source, staff: User
) -> None:
    async with Stream(await opened(page, staff)) as one:
        await one.next()
        async with Stream(await opened(page, staff)) as two:
            await two.next()
            assert page.viewers == 2
            assert source.backend in await in_thread(backends)
        assert page.running
    # What wraps an answer lets go of it a turn of the loop later.
    async with asyncio.timeout(10):
        while page.running:
            await asyncio.sleep(0.02)
        while source.backend in await in_thread(backends):
            await asyncio.sleep(0.02)
        while page.name in {task.get_name() for task in asyncio.all_tasks()}:
            await asyncio.sleep(0.02)
    asked = len(source.asked)
    async with Stream(await opened(page, staff)) as again:
        assert (await again.until_changed())["figures"] == "one: 1"
    assert len(source.asked) > asked


async def test_a_viewer_that_vanishes_has_left(page: LivePage[str], staff: User) -> None:
    async def view() -> None:
        async with aclosing(page.watch("one")) as moments:
            async for _ in moments:
                pass

    task = asyncio.create_task(view())
    async with asyncio.timeout(10):
        while not page.viewers:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert page.viewers == 0


async def test_a_stream_ends_after_a_while_so_that_a_session_that_is_over_is_noticed(
    page: LivePage[str], staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STREAM_LIFETIME", 0.5)
    async with Stream(await opened(page, staff)) as stream:
        with pytest.raises(StopAsyncIteration):
            while True:
                await stream.next()


async def test_all_are_let_go_when_the_server_stops(page: LivePage[str], staff: User) -> None:
    async with Stream(await opened(page, staff)) as stream:
        await stream.next()
        page.close()
        with pytest.raises(StopAsyncIteration):
            while True:
                await stream.next()
