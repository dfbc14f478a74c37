"""Acts on one dead letter: replay it, say what a replay would do, or discard it for a reason."""

from collections.abc import Callable
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard.forms import ReasonForm
from dashboard.letters.letter import found, render_letter, waits
from dashboard.operators import for_those_who_act, operator_of
from dashboard.posting import only_posted
from outbox.errors import NotAsShown, OutboxError
from outbox.models import DeadLetter
from outbox.repair import letters
from outbox.repair.acts import Report
from outbox.repair.matching import Extent

CHANGED = (
    "Somebody has acted on this letter since your page was made: nothing was done. This is how it is now."
)
LONGEST_REASON = 500


@for_those_who_act("replay_deadletter")
@only_posted("letter", "letter_id")
def replay(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Have the consumer process it after all, or say what would come of it (`dry_run`)."""
    letter = found(letter_id)
    operator = operator_of(request, reason=reason_of(request))
    late, dry_run = "late" in request.POST, "dry_run" in request.POST

    def act(shown: str | None = None) -> Report:
        return letters.replay(
            letter_id=letter.id, operator=operator, late=late, to_the_end=False, dry_run=dry_run, shown=shown
        )

    if dry_run:
        return try_out(request, letter, act)
    return carry_out(request, letter, act)


@require_http_methods(["GET", "POST"])
@for_those_who_act("discard_deadletter")
def discard(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Ask for a reason, with the numbers of what follows; then give the letter up."""
    letter, reason = found(letter_id), reason_of(request)
    if letter.state != "open":
        return render_letter(request, letter, notice=CHANGED, status=409)
    form = ReasonForm(request.POST)
    if request.method == "POST" and "confirmed" in request.POST and form.is_valid():
        operator = operator_of(request, reason=reason)
        return carry_out(
            request,
            letter,
            lambda shown: letters.discard(
                letter_id=letter.id, operator=operator, to_the_end=False, shown=shown
            ),
        )
    behind = waits(letter)
    held = letter.key is not None and bool(behind)
    context = {
        "title": "Discard a dead letter",
        "consequence": Extent(1, int(held), behind.count, behind.more).consequence("discard"),
        "details": [
            f"{letter.type or 'A record'} of key {letter.key or 'none'}: it will never be processed.",
            f"Only {letter.consumer} gives it up; other consumers are not touched.",
        ],
        "hidden": [("seen", letters.mark(letter))],
        "reason_required": True,
        "reason": request.POST.get("reason", ""),
        "error": form.errors["reason"][0] if "confirmed" in request.POST and form.errors else "",
        "verb": "Discard",
        "back": reverse("letter", args=[letter.id]),
    }
    return render(request, "dashboard/confirm.html", context, status=422 if context["error"] else 200)


def reason_of(request: HttpRequest) -> str:
    """What was said, shortened to what is kept."""
    return request.POST.get("reason", "").strip()[:LONGEST_REASON]


def carry_out(request: HttpRequest, letter: DeadLetter, act: Callable[[str], Report]) -> HttpResponse:
    """Do it once: a form of a page that is older than the last act does nothing. Then its page.

    act  is given what the form says of the letter as it was shown
    """
    try:
        act(request.POST.get("seen", ""))
    except NotAsShown:
        return render_letter(request, found(letter.id), notice=CHANGED, status=409)
    except OutboxError as error:
        return render_letter(request, found(letter.id), notice=str(error), status=409)
    return redirect("letter", letter_id=letter.id)


def try_out(request: HttpRequest, letter: DeadLetter, act: Callable[[], Report]) -> HttpResponse:
    """Say what would come of it."""
    try:
        report = act()
    except OutboxError as error:
        return render_letter(request, letter, notice=f"It would be refused: {error}", status=409)
    said = f"Dry run, nothing was kept: {report.detail}"
    return render_letter(request, letter, notice=said, state="bad" if report.error else "ok")
