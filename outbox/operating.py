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


class OperatorsAct(BasePermission):
    """Whoever sees everyone's events may look; operators, as OUTBOX["MAY_OPERATE"] says, may act."""

    message = "Only an operator may do this: ask an administrator to add your user to a group."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Refuses with 401 whom nobody knows, with 403 whom it is not for."""
        if not request.user.is_authenticated:
            return False
        may_operate: bool = import_string(config().may_operate)(request.user)
        sees_all = import_string(config().owner_of)(request.user) is None
        return may_operate or (request.method in SAFE_METHODS and sees_all)
