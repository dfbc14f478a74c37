"""Correcting a letter's data: checked, and set beside the original, before anything is done."""

from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard.formats import Bounded
from dashboard.forms import ReasonForm
from dashboard.letters.acting import CHANGED, carry_out, reason_of
from dashboard.letters.letter import found, render_letter, waits
from dashboard.operators import for_those_who_act, operator_of
from dashboard.posting import only_posted
from outbox.errors import OutboxError, UnknownConsumer
from outbox.registry import get_consumer
from outbox.repair import letters
from outbox.repair.acts import Report
from outbox.repair.correcting import Violation, unknown_fields, violations
from outbox.repair.difference import difference
from outbox.shown import whole_text


@for_those_who_act("replay_deadletter")
@only_posted("letter", "letter_id")
def correct(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """Show the difference, and what the contract says; with `confirmed`, replay the letter with this data.

    A reason is needed for that. With `dry_run`, say what would come of it. Data that does not fit is never
    tried.
    """
    letter, given = found(letter_id), request.POST.get("data", "")
    if letter.state != "open" or request.POST.get("seen") != letters.mark(letter):
        return render_letter(request, letter, notice=CHANGED, status=409)
    data = _compact(given)
    try:
        consumer = get_consumer(letter.consumer)
        wrong = violations(letter, data, consumer=consumer)
        unknown = unknown_fields(letter, data, consumer=consumer)
    except UnknownConsumer as error:
        wrong, unknown = [Violation("", str(error))], []
    original, corrected = whole_text(letter.payload), whole_text(data)
    tried: Report | None = None
    unsaid = ReasonForm(request.POST).errors if "confirmed" in request.POST else {}
    if not wrong and not unsaid and ("confirmed" in request.POST or "dry_run" in request.POST):
        operator = operator_of(request, reason=reason_of(request))

        def act(*, shown: str | None = None, dry_run: bool = False) -> Report:
            return letters.replay(
                letter_id=letter.id,
                operator=operator,
                data=data,
                late=letter.is_late,
                to_the_end=False,
                dry_run=dry_run,
                shown=shown,
            )

        if "confirmed" in request.POST:
            return carry_out(request, letter, lambda shown: act(shown=shown))
        try:
            tried = act(dry_run=True)
        except OutboxError as error:
            wrong = [Violation("", f"It would be refused: {error}")]
    context = {
        "letter": letter,
        "seen": letters.mark(letter),
        "given": corrected,
        "lines": difference(original, corrected),
        "same": original == corrected,
        "violations": wrong,
        "tried": tried,
        "waiting": waits(letter) if letter.key is not None else Bounded(0),
        "reason": request.POST.get("reason", ""),
        "reason_errors": unsaid.get("reason", []),
        "unknown": unknown,
    }
    status = 422 if wrong or unsaid else 200
    return render(request, "dashboard/letters/correct.html", context, status=status)


def _compact(text: str) -> bytes:
    """What will be kept: JSON as it was written, without its white space; other text as it is."""
    data = text.encode(errors="surrogatepass")
    try:
        return msgspec.json.format(data, indent=-1)
    except msgspec.DecodeError:
        return data
