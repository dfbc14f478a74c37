"""What an operator does on the page of an event that Kafka refused: send it again, or give it up."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard.forms import ReasonForm
from dashboard.operators import for_those_who_act, may_act, operator_of
from outbox import refusals
from outbox.errors import NotAsShown, NotRefused
from outbox.models import Refusal
from outbox.repair.acts import Operator

CONFLICT = 409
UNPROCESSABLE = 422


@dataclass(frozen=True, slots=True)
class Command:
    """What can be asked for: its words, and what it does; once, and only to what was shown."""

    title: str
    verb: str
    consequence: str
    permission: str
    carry_out: Callable[[UUID, Operator, str], int]


def _resend(event_id: UUID, operator: Operator, shown: str) -> int:
    return refusals.resend(event_id=event_id, operator=operator, shown=shown)


def _discard(event_id: UUID, operator: Operator, shown: str) -> int:
    return refusals.discard(event_id=event_id, reason=operator.reason, operator=operator, shown=shown)


_COMMANDS = {
    "resend": Command(
        "Send it again",
        "Send it again",
        "It goes to Kafka once more, then {behind}, in order. Where Kafka refuses one, that one and what is"
        " behind it stay held.",
        "resend_refusal",
        _resend,
    ),
    "discard": Command(
        "Discard it",
        "Discard it",
        "It will never be sent. A placeholder of its id and number goes in its place, with the reason, which"
        " all readers see; then {behind}, in order.",
        "discard_refusal",
        _discard,
    ),
}


@require_http_methods(["GET", "POST"])
@for_those_who_act()
def mend(request: HttpRequest, event_id: UUID, command: str) -> HttpResponse:
    """Ask before it, then do it.

    404 for an event that is not held, 422 without a reason, 409 where it has been sent meanwhile, or is not
    any more as it was shown.
    """
    asked = _COMMANDS[command]
    if not may_act(request.user, asked.permission):
        raise PermissionDenied
    refusal = _refused_or_404(event_id)
    if request.method != "POST":
        return _ask(request, refusal, asked)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _ask(request, refusal, asked, error="Say why, in up to 500 characters.", status=UNPROCESSABLE)
    try:
        operator = operator_of(request, reason=form.cleaned_data["reason"])
        asked.carry_out(event_id, operator, request.POST.get("shown", ""))
    except NotAsShown as error:
        return _ask(request, _refused_or_404(event_id), asked, error=str(error), status=CONFLICT)
    except NotRefused as error:
        return _ask(request, refusal, asked, error=str(error), status=CONFLICT)
    return redirect("event", event_id=event_id)


def _ask(
    request: HttpRequest, refusal: Refusal, asked: Command, *, error: str = "", status: int = 200
) -> HttpResponse:
    behind = refusals.held_behind(refusal)
    events = "1 event" if behind == 1 else f"{behind:,} events"
    page = {
        "title": asked.title,
        "consequence": asked.consequence.format(behind=f"{events} held behind it"),
        "details": [f"Kafka said: {refusal.cause}"],
        "hidden": [("shown", refusals.mark(refusal))],
        "reason_required": True,
        "reason": request.POST.get("reason", ""),
        "error": error,
        "verb": asked.verb,
        "back": reverse("event", args=[refusal.event_id]),
    }
    return render(request, "dashboard/confirm.html", page, status=status)


def _refused_or_404(event_id: UUID) -> Refusal:
    """The event as it is held. Raises Http404 for one that is not, or not any more."""
    refusal = Refusal.objects.filter(event_id=event_id).first()
    if refusal is None:
        raise Http404("Kafka has not refused this event, or it has been sent meanwhile.")
    return refusal
