"""One dead letter: what it was, why it died, what waits behind it, and what was done about it."""

import json
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from dashboard.formats import Bounded
from dashboard.letters.selectors import parked_of, waiting_behind
from dashboard.operators import for_those_who_look, may_act
from outbox import clock
from outbox.errors import NoSuchLetter
from outbox.item import decode_headers
from outbox.models import DeadLetter, LetterState, OutboxEvent, ParkedKey
from outbox.repair.acts import acts_on
from outbox.repair.behind import MOST_WAITING
from outbox.repair.difference import difference
from outbox.repair.letters import get_letter, mark
from outbox.shown import can_be_edited, headers_text, payload_text, whole_text
from payments.models import Payment

MOST_ACTS = 50


@require_GET
@for_those_who_look
def page(request: HttpRequest, letter_id: UUID) -> HttpResponse:
    """The whole page."""
    return render_letter(request, found(letter_id))


def found(letter_id: UUID) -> DeadLetter:
    """The letter. Raises Http404."""
    try:
        return get_letter(letter_id, using=DEFAULT_DB_ALIAS)
    except NoSuchLetter as error:
        raise Http404(str(error)) from error


def waits(letter: DeadLetter) -> Bounded:
    """How many events wait behind it."""
    return waiting_behind([letter]).get(letter.id, Bounded(0))


def render_letter(
    request: HttpRequest, letter: DeadLetter, *, notice: str = "", state: str = "warn", status: int = 200
) -> HttpResponse:
    """The page as things are, with what is to be said above it."""
    acts = list(acts_on(letter, using=DEFAULT_DB_ALIAS).reverse()[:MOST_ACTS])
    row = None
    if letter.key is not None:
        row = ParkedKey.objects.filter(
            consumer=letter.consumer, generation=letter.generation, topic=letter.topic, key=letter.key
        ).first()
    parked = None if row is None else parked_of([row])[0]
    is_open = letter.state == LetterState.OPEN
    context = {
        "letter": letter,
        "seen": mark(letter),
        "is_open": is_open,
        "parked": parked,
        "holds": parked is not None and parked.letter is not None and parked.letter.id == letter.id,
        "waiting": Bounded(0) if parked is None else parked.waiting,
        "counted_to": MOST_WAITING,
        "acts": acts,
        "may_act": may_act(request.user) and is_open,
        "data": payload_text(letter.payload),
        **({} if letter.correction is None else _corrected(letter)),
        "correctable": letter.type != "",
        "editable": whole_text(letter.payload) if can_be_edited(letter.payload) else None,
        "headers": headers_text(decode_headers(letter.headers)),
        "has_event": OutboxEvent.objects.filter(id=letter.event_id).exists(),
        "payment_id": payment_of(letter),
        "reason": request.POST.get("reason", ""),
        "late": "late" in request.POST,
        "notice": notice,
        "notice_state": state,
        "read_at": clock.now(),
    }
    return render(request, "dashboard/letters/letter.html", context, status=status)


def _corrected(letter: DeadLetter) -> dict[str, object]:
    """With what it was replayed: the difference, and the whole where they are too long to compare."""
    return {
        "corrected": True,
        "lines": difference(whole_text(letter.payload), whole_text(letter.correction)),
        "correction": payload_text(letter.correction),
    }


def payment_of(letter: DeadLetter) -> UUID | None:
    """The payment that the letter's event is about, if it is about one that there is."""
    named: Any = letter.key if letter.topic == "payments" else None
    if named is None:
        try:
            data = json.loads(bytes(letter.payload or b""))
        except (ValueError, RecursionError):
            return None
        named = data.get("payment_id") if isinstance(data, dict) else None
    try:
        payment_id = UUID(str(named))
    except ValueError:
        return None
    return payment_id if Payment.objects.filter(id=payment_id).exists() else None
