"""Addresses that take a form and have no page of their own."""

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard.operators import P, View


def only_posted(page: str, *names: str) -> Callable[[View[P]], View[P]]:
    """Take POST alone, and lead whoever comes by the address to the page that has the form.

    Somebody who had to sign in anew comes so, and somebody who was sent the address.

    page   the name of its route
    names  those arguments of the address that the page takes, too
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method in {"GET", "HEAD"}:
                return HttpResponseRedirect(reverse(page, kwargs={name: kwargs[name] for name in names}))
            return view(request, *args, **kwargs)

        return require_http_methods(["GET", "HEAD", "POST"])(guarded)

    return decorate
