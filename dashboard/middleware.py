"""What a browser may load and run on our pages (Content-Security-Policy), and pages not to be had now."""

import logging
from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import url_has_allowed_host_and_scheme

from outbox.recovery import Family, family_of

# Nothing inline and nothing from elsewhere: what is stored as text can never run.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The admin's theme and Swagger UI bring inline scripts and styles of their own, but nothing from elsewhere.
OTHERS = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_OTHERS_UNDER = ("/admin/", "/api/")

logger = logging.getLogger(__name__)


def policy_for(path: str) -> str:
    """The policy of the page at this path."""
    return OTHERS if path.startswith(_OTHERS_UNDER) else STRICT


@sync_and_async_middleware
def ContentSecurityPolicyMiddleware(  # noqa: N802  (named in settings like the class it stands for)
    get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
) -> Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]:
    """Every response says what its page may load; one that says so itself is left as it is."""

    def settle(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", policy_for(request.path_info))
        return response

    if iscoroutinefunction(get_response):

        async def middleware_async(request: HttpRequest) -> HttpResponseBase:
            return settle(request, await get_response(request))

        return middleware_async

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return settle(request, get_response(request))  # type: ignore[arg-type]

    return middleware


class UnavailableMiddleware(MiddlewareMixin):
    """A page for which the database is away, or takes too long, is no fault of the program: 503, not 500."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """What passes by itself. The API has an answer of its own."""
        family = family_of(exception) if isinstance(exception, Error) else None
        if family not in {Family.RECOVERABLE, Family.CONTENTION} or request.path_info.startswith("/api/"):
            return None
        logger.warning("%s is not answered: %s", request.path_info, exception, exc_info=exception)
        is_act = request.method not in {"GET", "HEAD"}
        context = {"slow": family is Family.CONTENTION, "is_act": is_act, "back": _page_before(request)}
        page = render_to_string("503.html", context)
        return HttpResponse(page, status=503, headers={"Retry-After": "5"})


def _page_before(request: HttpRequest) -> str:
    """Where an act was asked for: its own address has no page."""
    before = request.headers.get("Referer", "")
    ours = url_has_allowed_host_and_scheme(before, {request.get_host()}, require_https=request.is_secure())
    return before if ours else "/"
