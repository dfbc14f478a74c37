"""Threads in which asynchronous views do their synchronous work."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connections
from django.http import HttpRequest

# A request that waits in line costs nothing; each thread at work takes a connection.
THREADS = 4

T = TypeVar("T")
_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outbox-view")


async def in_thread(request: HttpRequest, work: Callable[[], T]) -> T:
    """What `work` returns, run in one of a few threads, which gives its database connections back.

    Under WSGI the request has a thread already, and its connections: there it is run in that one.
    """
    if not isinstance(request, ASGIRequest):
        return await sync_to_async(work)()
    return await sync_to_async(_with_connections_closed, thread_sensitive=False, executor=_threads)(work)


def _with_connections_closed(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        connections.close_all()
