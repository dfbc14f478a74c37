"""What a browser may load and run on our pages (Content-Security-Policy)."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

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
