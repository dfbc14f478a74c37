"""Carries a caller's W3C trace context and correlation id into the events of the request."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from outbox.context import caused_by, is_traceparent
from outbox.tracing import current_traceparent


def _cause_of(request: HttpRequest) -> dict[str, Any]:
    traceparent = request.headers.get("traceparent", "")
    try:
        correlation_id = UUID(request.headers.get("X-Correlation-Id", ""))
    except ValueError:
        correlation_id = None
    return {
        "correlation_id": correlation_id,
        "traceparent": current_traceparent() or (traceparent if is_traceparent(traceparent) else None),
    }


@sync_and_async_middleware
def CorrelationMiddleware(  # noqa: N802  (named in settings like the class it stands for)
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], Any]:
    """Events published in a request inherit its `traceparent` and `X-Correlation-Id`, when well-formed.

    Where requests are traced it comes after what begins their spans: events go below those.
    """
    if iscoroutinefunction(get_response):

        async def middleware_async(request: HttpRequest) -> Any:
            with caused_by(**_cause_of(request)):
                return await get_response(request)

        return middleware_async

    def middleware(request: HttpRequest) -> Any:
        with caused_by(**_cause_of(request)):
            return get_response(request)

    return middleware
