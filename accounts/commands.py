"""Commands that operators give in the name of merchants: each is written down with what came of it.

In the audit log of acts on events, since a command ends in one; a merchant's own are its own business.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast
from uuid import UUID

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from accounts.permissions import signed_in
from outbox.repair.acts import Operator, Via, write_down_command

V = TypeVar("V", bound=APIView)
P = ParamSpec("P")
Command = Callable[Concatenate[V, Request, P], Response]


def write_down(
    user: User, command: str, *, merchant_id: UUID, event_id: UUID | None, via: Via, why: str = ""
) -> None:
    """Keep who gave a command in this merchant's name, in the transaction of its event.

    Without one nothing was done. A merchant's own command is not kept.
    """
    if event_id is not None and user.may_operate and user.id != merchant_id:
        write_down_command(Operator(user.get_username(), why, via), command, event_id=event_id)


def written_down(command: str) -> Callable[[Command[V, P]], Command[V, P]]:
    """One line above a view's method whose answer has `merchant_id`, `reason` and `event_id`."""

    def decorated(method: Command[V, P]) -> Command[V, P]:
        @wraps(method)
        def answer(view: V, request: Request, *args: P.args, **kwargs: P.kwargs) -> Response:
            with transaction.atomic():
                response = method(view, request, *args, **kwargs)
                write_down(
                    signed_in(request),
                    command,
                    merchant_id=UUID(str(response.data["merchant_id"])),
                    event_id=response.data["event_id"],
                    via=Via.REST,
                    why=response.data["reason"] or "",
                )
            return response

        return cast("Command[V, P]", answer)

    return decorated
