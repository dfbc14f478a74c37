"""A parked key: what holds it, since when, what waits behind it in order; and letting it go on."""

from typing import Any
from uuid import UUID

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from dashboard.forms import ReasonForm
from dashboard.letters.acting import reason_of
from dashboard.letters.selectors import PAGE_SIZE, parked_of
from dashboard.operators import for_those_who_act, for_those_who_look, may_act, operator_of
from dashboard.posting import only_posted
from outbox import clock
from outbox.errors import OutboxError
from outbox.models import ParkCause, ParkedKey, WaitingEvent
from outbox.repair import keys
from outbox.repair.acts import Operator
from outbox.repair.behind import MOST_WAITING, mark, marked


@require_GET
@for_those_who_look
def parked_key(request: HttpRequest, parked_id: UUID) -> HttpResponse:
    """One key with what waits, in the order in which it came."""
    return _render(request, _found(parked_id))


def _render(request: HttpRequest, row: ParkedKey, *, notice: str = "", status: int = 200) -> HttpResponse:
    try:
        after = int(request.GET.get("after", "0"))
    except ValueError:
        raise BadRequest("The address names no place in the list.") from None
    waiting = WaitingEvent.objects.filter(**_named(row), id__gt=after).defer("payload", "headers", "raw_key")
    found = list(waiting.order_by("id")[: PAGE_SIZE + 1])
    context = {
        "parked": parked_of([row])[0],
        "events": found[:PAGE_SIZE],
        "next": found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None,
        "first_page": after == 0,
        "counted_to": MOST_WAITING,
        "may_release": may_act(request.user, "release_parkedkey") and row.cause == "gap",
        "notice": notice,
        "read_at": clock.now(),
    }
    return render(request, "dashboard/letters/parked_key.html", context, status=status)


@require_http_methods(["GET", "POST"])
@for_those_who_act("release_parkedkey")
def release_key(request: HttpRequest, parked_id: UUID) -> HttpResponse:
    """Ask for a reason, with the numbers of what follows; then go on without what is missing."""
    row = _found(parked_id)
    if row.cause != ParkCause.GAP:
        said = "It waits for no missing event: a dead letter holds it, or it is being released already."
        return _render(request, row, notice=said, status=409)
    form, shown = ReasonForm(request.POST), _shown(request, "missing")
    confirmed = "confirmed" in request.POST and shown is not None
    if confirmed and form.is_valid():
        operator = operator_of(request, reason=reason_of(request))
        try:
            keys.release(parked_id=row.id, operator=operator, shown=shown, to_the_end=False)
        except OutboxError as refused:
            return _render(request, _found(row.id), notice=str(refused), status=409)
        if ParkedKey.objects.filter(id=row.id).exists():
            return redirect("parked-key", parked_id=row.id)
        return redirect(f"{reverse('parked-keys')}?released={row.id}")
    [parked] = parked_of([row])
    events = "event" if str(parked.waiting) == "1" else "events"
    gives_up = f"Gives up {parked.missing_text}" if parked.missing else "Nothing is missing"
    error = form.errors["reason"][0] if confirmed and form.errors else ""
    context: dict[str, Any] = {
        "title": "Release a parked key",
        "consequence": f"{gives_up}; {parked.waiting.least} waiting {events} will then run, in order.",
        "details": [
            f"{row.consumer}, {row.topic}, key {row.key}.",
            "Should what is given up arrive later, it becomes a dead letter (LateEvent).",
        ],
        "hidden": [("missing", mark(parked.missing))],
        "reason_required": True,
        "reason": request.POST.get("reason", ""),
        "error": error,
        "verb": "Release",
        "back": reverse("parked-key", args=[row.id]),
    }
    return render(request, "dashboard/confirm.html", context, status=422 if error else 200)


@for_those_who_act("release_parkedkey")
@only_posted("parked-keys")
def release_selected(request: HttpRequest) -> HttpResponse:
    """Ask about the keys that were ticked, with numbers; then have them go on without what is missing."""
    try:
        ids = [UUID(value) for value in request.POST.getlist("parked")[:PAGE_SIZE]]
    except ValueError:
        raise Http404("No such key is parked.") from None
    form, shown = ReasonForm(request.POST), {one: _shown(request, f"missing-{one}") for one in ids}
    confirmed = "confirmed" in request.POST and None not in shown.values()
    if ids and confirmed and form.is_valid():
        told = _released(shown, operator_of(request, reason=reason_of(request)))
        return render(request, "dashboard/letters/released.html", {"told": told})
    gaps = parked_of(list(ParkedKey.objects.filter(id__in=ids, cause=ParkCause.GAP)))
    if not gaps:
        said = "None of the keys that were selected waits for a missing event: tick some that do."
        nothing = {"title": "Release parked keys", "consequence": said, "back": reverse("parked-keys")}
        return render(request, "dashboard/letters/nothing.html", nothing, status=409)
    waiting = sum(one.waiting.count for one in gaps)
    least = "at least " if any(one.waiting.more for one in gaps) else ""
    left = len(ids) - len(gaps)
    context: dict[str, Any] = {
        "title": "Release parked keys",
        "consequence": (
            f"Gives up what {len(gaps)} key{' waits' if len(gaps) == 1 else 's wait'} for;"
            f" {least}{waiting:,} waiting event{'' if waiting == 1 else 's'} will then run, in order."
        ),
        "details": [
            *(f"{_name(one.row)}: {one.missing_text or 'nothing is missing'}." for one in gaps),
            *([f"{left} of those that were selected are not held by a gap: they are left."] if left else []),
            "Should what is given up arrive later, it becomes a dead letter (LateEvent).",
        ],
        "hidden": [
            *(("parked", str(one.row.id)) for one in gaps),
            *((f"missing-{one.row.id}", mark(one.missing)) for one in gaps),
        ],
        "reason_required": True,
        "reason": request.POST.get("reason", ""),
        "error": form.errors["reason"][0] if confirmed and form.errors else "",
        "verb": "Release",
        "back": reverse("parked-keys"),
    }
    return render(request, "dashboard/confirm.html", context, status=422 if context["error"] else 200)


def _released(shown: dict[UUID, range | None], operator: Operator) -> list[tuple[str, str]]:
    """Each key, and what came of it; one that is refused keeps no other back."""
    named = {row.id: _name(row) for row in ParkedKey.objects.filter(id__in=shown)}
    told = []
    for parked_id, missing in shown.items():
        try:
            said = keys.release(
                parked_id=parked_id, operator=operator, shown=missing, to_the_end=False
            ).detail
        except OutboxError as refused:
            said = str(refused)
        told.append((named.get(parked_id, str(parked_id)), said))
    return told


def _shown(request: HttpRequest, field: str) -> range | None:
    """The missing numbers of which the page told that was sent back; None where it told of none yet."""
    try:
        return marked(request.POST[field]) if field in request.POST else None
    except ValueError:
        raise BadRequest("The form names no numbers.") from None


def _name(row: ParkedKey) -> str:
    return f"{row.consumer}, {row.topic}, key {row.key}"


def _named(row: ParkedKey) -> dict[str, Any]:
    return {"consumer": row.consumer, "generation": row.generation, "topic": row.topic, "key": row.key}


def _found(parked_id: UUID) -> ParkedKey:
    row = ParkedKey.objects.filter(id=parked_id).first()
    if row is None:
        raise Http404("No such key is parked: it has been released, if it was.")
    return row
