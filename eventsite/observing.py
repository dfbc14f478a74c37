"""Commands, timed and traced: requests that may change something. Tasks are in eventsite/tasking.py."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from outbox.metrics import CALLS, OTHER, Spread

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# What becomes of a command; a task may be run again.
RESULTS = DONE, REFUSED, FAILED, AGAIN = "done", "refused", "failed", "again"

COMMAND_SECONDS = Spread(
    "eventsite_command_seconds",
    "How long commands took: requests that may change something, and tasks. Refused are those answered 4xx.",
    "command",
    "via",
    "result",
    bounds=CALLS,
)


def timed(command: str, *, via: str, result: str, began: float) -> None:
    """A command has ended that began then, by the performance counter."""
    COMMAND_SECONDS.add(command, via, result, values=[time.perf_counter() - began])


class Observed:
    """A request under way: what became of it is set before its block ends."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.status = 500

    @property
    def command(self) -> str:
        """The name of the route, and the method; one of a bounded set."""
        match = self.request.resolver_match
        method = self.request.method if self.request.method in METHODS else OTHER
        return f"{method} {match.view_name if match is not None else OTHER}"


@contextmanager
def _observed(request: HttpRequest) -> Iterator[Observed]:
    observed, began = Observed(request), time.perf_counter()
    with _span(observed):
        yield observed
    if request.method not in SAFE:
        result = (DONE, REFUSED, FAILED)[max(observed.status // 100 - 3, 0)]
        timed(observed.command, via="request", result=result, began=began)


@contextmanager
def _span(observed: Observed) -> Iterator[None]:
    """Its span, where requests are traced; below the caller's."""
    if not settings.OUTBOX["TRACING"]:
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    from outbox.spans import context_of, tracer

    request = observed.request
    parent = context_of(request.headers.get("traceparent"))
    attributes = {"http.request.method": request.method or "", "url.path": request.path}
    with tracer().start_as_current_span(
        request.method or "", parent, kind=SpanKind.SERVER, attributes=attributes
    ) as span:
        yield
        if (match := request.resolver_match) is not None:
            span.update_name(f"{request.method} {match.route}")
            span.set_attribute("http.route", match.route)
        span.set_attribute("http.response.status_code", observed.status)
        if observed.status >= 500:
            span.set_status(Status(StatusCode.ERROR))


@sync_and_async_middleware
def CommandsMiddleware(  # noqa: N802  (named in settings like the class it stands for)
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Any]:
    """Times requests that may change something, and traces all."""
    if iscoroutinefunction(get_response):

        async def middleware_async(request: HttpRequest) -> Any:
            with _observed(request) as observed:
                response = await get_response(request)
                observed.status = response.status_code
            return response

        return middleware_async

    def middleware(request: HttpRequest) -> Any:
        with _observed(request) as observed:
            response = get_response(request)
            assert isinstance(response, HttpResponseBase)  # noqa: S101  (this chain is synchronous)
            observed.status = response.status_code
        return response

    return middleware
