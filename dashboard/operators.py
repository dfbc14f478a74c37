"""The pages of those who run the system: who may look, who may act, and in whose name."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from outbox.operating import may
from outbox.repair.acts import Operator, Via

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def may_look(user: object) -> bool:
    """Whether this user sees everyone's events: staff, operators and viewers, but no merchant."""
    return isinstance(user, User) and user.sees_merchant is None


def may_act(user: object, permission: str = "") -> bool:
    """Whether this user is an operator, and holds this permission of `outbox` where one is asked for."""
    return isinstance(user, User) and (may(user, permission) if permission else user.may_operate)


def for_those_who_look(view: View[P]) -> View[P]:
    """The sign-in page for nobody; 403 for merchants."""
    return _only(may_look, view)


def for_those_who_act(permission: str = "") -> Callable[[View[P]], View[P]]:
    """The sign-in page for nobody; 403 for merchants, those who may only look, and without the permission."""
    return lambda view: _only(lambda user: may_act(user, permission), view)


def _only(allowed: Callable[[object], bool], view: View[P]) -> View[P]:
    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not allowed(request.user):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return login_required(guarded)


def operator_of(request: HttpRequest, *, reason: str = "") -> Operator:
    """Who is written down for what this request asks for."""
    return Operator(request.user.get_username(), reason, Via.DASHBOARD)
