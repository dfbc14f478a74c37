"""The ASGI handler: synchronous views share a few kept threads, asynchronous ones hold none."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.module_loading import import_string
from pytest_django import Settings

from eventsite.handler import CONCURRENT, Application

pytestmark = pytest.mark.django_db

seen: list[str] = []
running: list[int] = []  # how many views ran, at the start of each
asked: list[str] = []
lock = threading.Lock()
gate = threading.Event()


def synchronous(request: HttpRequest) -> HttpResponse:
    with lock:
        seen.append(threading.current_thread().name)
        running.append(running[-1] + 1 if running else 1)
    gate.wait(10)
    with lock:
        running.append(running[-1] - 1)
    return HttpResponse("synchronous")


async def asynchronous(request: HttpRequest) -> HttpResponse:
    seen.append(threading.current_thread().name)
    await asyncio.sleep(0)
    return HttpResponse("asynchronous")


urlpatterns = [path("synchronous/", synchronous), path("asynchronous/", asynchronous)]


@pytest.fixture(autouse=True)
def routes(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["site"]
    for notes in (seen, running, asked):
        notes.clear()
    gate.set()
    yield
    gate.set()


async def get(application: Application, where: str) -> tuple[int, bytes]:
    """One request by the protocol itself; the client stays until it is answered."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": where,
        "query_string": b"",
        "headers": [(b"host", b"site")],
        "client": ("127.0.0.1", 1),
    }
    answer: list[dict[str, Any]] = []
    begun, answered = False, asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal begun
        if not begun:
            begun = True
            asked.append(where)
            return {"type": "http.request", "body": b"", "more_body": False}
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answer.append(message)

    await application(scope, receive, send)
    answered.set()
    return answer[0]["status"], b"".join(part.get("body", b"") for part in answer[1:])


async def test_one_request_after_another_uses_the_same_thread() -> None:
    application = Application()
    for _ in range(3):
        assert await get(application, "/synchronous/") == (200, b"synchronous")
    assert len(set(seen)) == 1
    assert seen[0].startswith("request")


async def test_no_more_views_run_at_once_than_there_are_turns() -> None:
    application = Application()
    gate.clear()
    requests = [asyncio.create_task(get(application, "/synchronous/")) for _ in range(3 * CONCURRENT)]
    async with asyncio.timeout(20):
        while len(asked) < len(requests) or len(seen) < CONCURRENT:
            await asyncio.sleep(0.01)
        gate.set()
        answers = await asyncio.gather(*requests)
    assert answers == [(200, b"synchronous")] * 3 * CONCURRENT
    assert max(running) == CONCURRENT


async def test_an_asynchronous_view_runs_in_the_event_loop() -> None:
    application = Application()
    assert await get(application, "/asynchronous/") == (200, b"asynchronous")
    assert seen == [threading.current_thread().name]


async def test_what_does_not_exist_is_not_found() -> None:
    status, _ = await get(Application(), "/nowhere/")
    assert status == 404


@pytest.mark.parametrize("name", settings.MIDDLEWARE)
def test_no_middleware_holds_a_thread_while_an_asynchronous_view_takes_its_time(name: str) -> None:
    assert import_string(name).async_capable
