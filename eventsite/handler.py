"""How requests are served under ASGI: whose turn it is, and in which thread."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, resolve

from eventsite.bodies import Disconnected, TooLarge, read_body, too_large, with_length

# Synchronous views under way at once. More would only take turns at one interpreter, and wait for the
# connections of a pool; whoever waits for a turn costs nothing.
CONCURRENT = 8
# Whoever looks after the process is answered while all others wait: turns for these alone.
HEALTH = frozenset({"healthz", "readyz", "metrics"})
CONCURRENT_HEALTH = 4
ASYNCHRONOUS = "eventsite.asynchronous"


class Turns:
    """So many at once, each with a thread of its own; those who wait have none."""

    def __init__(self, count: int, *, name: str) -> None:
        self._free = asyncio.Semaphore(count)
        self._name = name
        self._idle: list[ThreadPoolExecutor] = []

    @asynccontextmanager
    async def thread(self) -> AsyncIterator[ThreadPoolExecutor]:
        """A thread for one request: all that it does synchronously shares a database connection."""
        async with self._free:
            thread = self._idle.pop() if self._idle else ThreadPoolExecutor(1, thread_name_prefix=self._name)
            try:
                yield thread
            finally:
                self._idle.append(thread)


class Application(ASGIHandler):
    """Django's handler, for synchronous views at less than half its cost.

    Django enters and leaves a thread for every middleware of such a view, before and after it, and starts two
    threads for every request. Here the view and its middleware share one visit to a thread, which is kept for
    later requests. Asynchronous views may last for hours, as event streams do: what little they do
    synchronously is done in one thread for all of them.

    A synchronous request has its turn from the moment at which it is whole until its answer is: neither who
    sends slowly nor who reads slowly keeps it from others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._synchronous = BaseHandler()
        self._synchronous.load_middleware()
        self._turns = Turns(CONCURRENT, name="request")
        self._health = Turns(CONCURRENT_HEALTH, name="health")
        self._streams = ThreadPoolExecutor(1, thread_name_prefix="streams")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        try:
            body = await read_body(scope, receive)
        except TooLarge:
            await self.send_response(too_large(scope), send)
            return
        except Disconnected:
            return
        match = _match(scope)
        asynchronous = match is not None and iscoroutinefunction(match.func)
        scope = {**with_length(scope, body), ASYNCHRONOUS: asynchronous}
        receive = _receiving(body, receive)
        if asynchronous:
            async with ThreadSensitiveContext(executor=self._streams):
                await super().__call__(scope, receive, send)
            return
        turns = self._health if match is not None and match.url_name in HEALTH else self._turns
        answer: deque[Any] = deque()
        async with turns.thread() as thread, ThreadSensitiveContext(executor=thread):
            await super().__call__(scope, receive, _keeping(answer))
        while answer:
            await send(answer.popleft())

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response, by whichever chain suits the view."""
        assert isinstance(request, ASGIRequest)  # noqa: S101  (this handler makes no other)
        if request.scope[ASYNCHRONOUS]:
            return await super().get_response_async(request)
        return await sync_to_async(self._synchronous.get_response, thread_sensitive=True)(request)


def _match(scope: Any) -> ResolverMatch | None:
    try:
        return resolve(scope["path"].removeprefix(get_script_prefix(scope)))
    except Resolver404:
        return None


def _receiving(body: bytes, receive: Any) -> Any:
    """An ASGI `receive`: the body that is there already, then whatever still comes."""
    given = False

    async def next_message() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return next_message


def _keeping(answer: deque[Any]) -> Any:
    """An ASGI `send` that waits for nobody: Django makes synchronous answers whole before it sends them."""

    async def keep(message: Any) -> None:
        answer.append(message)

    return keep
