"""The ASGI entry point: `uvicorn eventsite.asgi:application`."""

import asyncio
import os

import django
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventsite.settings")

# Synchronous views under way at once. More would only take turns at one interpreter, and wait for the
# connections of a pool; whoever waits for a turn costs nothing.
CONCURRENT = 8


class Application(ASGIHandler):
    """Django's handler, with synchronous views run in one go.

    Django's own enters and leaves a thread for every middleware of such a view, before and after it: about
    2 ms of processor time a request, as much again as a small view needs. Here the view and its middleware
    share one visit to the thread. Asynchronous views are run as ever, and hold no thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._synchronous = BaseHandler()
        self._synchronous.load_middleware()
        self._turns = asyncio.Semaphore(CONCURRENT)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """The response, by whichever chain suits the view."""
        if _is_asynchronous(request.path_info):
            return await super().get_response_async(request)
        async with self._turns:
            return await sync_to_async(self._synchronous.get_response, thread_sensitive=True)(request)


def _is_asynchronous(path: str) -> bool:
    try:
        return iscoroutinefunction(resolve(path).func)
    except Resolver404:
        return False


django.setup(set_prefix=False)
application = Application()
