"""What all that operators ask for over REST has in common: who may, and what of a request sent twice."""

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from outbox.config import config


def once(command: Callable[..., Response]) -> Callable[..., Any]:
    """What the project does about commands that are sent twice: OUTBOX["IDEMPOTENT"]."""
    wrap: Callable[[Any], Any] = import_string(config().idempotent) if config().idempotent else _as_it_is
    return wrap(command)  # type: ignore[no-any-return]


def _as_it_is(command: Any) -> Any:
    return command


def may(user: Any, permission: str) -> bool:
    """Whether this user is an operator, as OUTBOX["MAY_OPERATE"] says, and holds the act's own permission."""
    operates: bool = import_string(config().may_operate)(user)
    return operates and user.has_perm(f"outbox.{permission}")


class OperatorsAct(BasePermission):
    """Whoever sees everyone's events may look; operators may act who hold one of the view's `permissions`.

    Nobody may act by a view that does not name any.
    """

    message = "Only an operator with this permission may do this: ask an administrator for it."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuses with 401 whom nobody knows, with 403 whom it is not for."""
        if not request.user.is_authenticated:
            return False
        if request.method not in SAFE_METHODS:
            return any(may(request.user, one) for one in getattr(view, "permissions", ()))
        operates: bool = import_string(config().may_operate)(request.user)
        sees_all: bool = import_string(config().owner_of)(request.user) is None
        return operates or sees_all
