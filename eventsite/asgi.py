"""The ASGI entry point: `uvicorn eventsite.asgi:application`."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import django
from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")

# Synchronous views under way at once. More would only take turns at one interpreter, and wait for the
# connections of a pool; whoever waits for a turn costs nothing.
CONCURRENT = 8
# Threads kept for the next requests.
KEPT_THREADS = 32
ASYNCHRONOUS = "eventsite.asynchronous"


class Application(ASGIHandler):
    """Django's handler, for synchronous views at less than half its cost.

    Django enters and leaves a thread for every middleware of such a view, before and after it, and starts two
    threads for every request. Here the view and its middleware share one visit to a thread, which is kept for
    later requests. Asynchronous views may last for hours, as event streams do: what little they do
    synchronously is done in one thread for all of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._synchronous = BaseHandler()
        self._synchronous.load_middleware()
        self._turns = asyncio.Semaphore(CONCURRENT)
        self._idle: list[ThreadPoolExecutor] = []
        self._streams = ThreadPoolExecutor(1, thread_name_prefix="streams")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        asynchronous = scope["type"] == "http" and _is_asynchronous(scope)
        scope[ASYNCHRONOUS] = asynchronous
        with nullcontext(self._streams) if asynchronous else self._thread() as thread:
            async with ThreadSensitiveContext(executor=thread):
                await super().__call__(scope, receive, send)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response, by whichever chain suits the view."""
        assert isinstance(request, ASGIRequest)  # noqa: S101  (this handler makes no other)
        if request.scope[ASYNCHRONOUS]:
            return await super().get_response_async(request)
        async with self._turns:
            return await sync_to_async(self._synchronous.get_response, thread_sensitive=True)(request)

    @contextmanager
    def _thread(self) -> Iterator[ThreadPoolExecutor]:
        """A thread for one request: all that it does synchronously shares a database connection."""
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(1, thread_name_prefix="request")
        try:
            yield thread
        finally:
            if len(self._idle) < KEPT_THREADS:
                self._idle.append(thread)
            else:
                thread.shutdown(wait=False)


def _is_asynchronous(scope: Any) -> bool:
    try:
        return iscoroutinefunction(resolve(scope["path"].removeprefix(get_script_prefix(scope))).func)
    except Resolver404:
        return False


django.setup(set_prefix=False)
application = Application()
