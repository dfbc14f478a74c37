"""Acts on letters that were ticked, and on all that match: asked with their numbers, done by workers."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4, uuid5

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard.forms import ReasonForm
from dashboard.letters.acting import reason_of
from dashboard.letters.filters import LettersFilter
from dashboard.operators import for_those_who_act, may_act, operator_of
from dashboard.posting import only_posted
from dashboard.volumes_page import zone_of
from outbox import clock
from outbox.errors import MoreThanShown
from outbox.repair import jobs
from outbox.repair.jobs import DRY_RUN, PERMISSIONS
from outbox.repair.matching import Selection, extent

MOST_SELECTED = 500


class ManyForm(ReasonForm):
    """Why, how fast, and what was shown: how many, and when that was."""

    rate = forms.FloatField(
        required=False,
        min_value=0.01,
        max_value=10_000,
        error_messages={"invalid": "The rate is no number: leave it out, or say how many a second."},
    )
    asked = forms.DateTimeField(error_messages={"required": "Look at the numbers first."})
    shown = forms.IntegerField(min_value=0, error_messages={"required": ""})


@for_those_who_act()
@only_posted("letters")
def selected(request: HttpRequest) -> HttpResponse:
    """Ask about those that were ticked, and begin a job about them."""
    act = request.POST.get("act", "")
    try:
        ids = tuple(UUID(value) for value in request.POST.getlist("letter")[:MOST_SELECTED])
    except ValueError:
        raise Http404("There is no such dead letter.") from None
    filters = request.POST.get("filters", "")
    hidden = [("act", act), ("filters", filters), *(("letter", str(letter_id)) for letter_id in ids)]
    form = LettersFilter(QueryDict(filters), zone=zone_of(request))
    back = f"{reverse('letters')}{form.asked.address()}" if form.is_valid() else reverse("letters")
    return _ask(request, act, Selection(ids=ids), hidden=hidden, back=back, ticked=len(ids))


@require_http_methods(["GET", "POST"])
@for_those_who_act()
def matching(request: HttpRequest, act: str) -> HttpResponse:
    """Ask about all open letters that the address's filters match, and begin a job about them."""
    form = LettersFilter(request.GET, zone=zone_of(request))
    if not form.is_valid():
        raise Http404("The address asks for something that is not known here.")
    asked = form.asked
    back = f"{reverse('letters')}{asked.address()}"
    return _ask(request, act, asked.selection(), hidden=[], back=back)


def _ask(
    request: HttpRequest,
    act: str,
    selection: Selection,
    *,
    hidden: list[tuple[str, str]],
    back: str,
    ticked: int | None = None,
) -> HttpResponse:
    if act not in {"replay", "discard"}:
        raise Http404("There is no such act.")
    if not may_act(request.user, PERMISSIONS[act]):
        raise PermissionDenied
    needs_reason, may_try = act == "discard", act == "replay"
    dry_run = may_try and "dry_run" in request.POST
    form, confirmed = ManyForm(request.POST), dry_run or "confirmed" in request.POST
    form.fields["reason"].required = needs_reason
    error, status = "", 200
    if confirmed and not form.is_valid():
        error, status = " ".join(str(said[0]) for said in form.errors.values()), 422
    elif confirmed and selection.letters().exists():
        try:
            job = jobs.begin(
                act=DRY_RUN if dry_run else act,
                selection=_as_shown(selection, form.cleaned_data["asked"]),
                operator=operator_of(request, reason=reason_of(request)),
                per_second=form.cleaned_data["rate"],
                shown=form.cleaned_data["shown"],
                job_id=_job_id(request, dry_run=dry_run),
            )
        except MoreThanShown as refusal:
            error, status = str(refusal), 409
        else:
            return redirect("repair-job", job_id=job.id)
    now = clock.now()
    reach = extent(_as_shown(selection, now))
    gone = 0 if ticked is None else ticked - reach.letters
    context = {
        "title": f"{act.capitalize()} dead letters",
        "consequence": reach.consequence(act) if reach.letters else _nothing(ticked),
        "details": [
            *([f"{gone:,} of those that were selected have been dealt with by others."] if gone else []),
            *(
                ["Workers do it, oldest first; what dies meanwhile is not among them."]
                if reach.letters
                else []
            ),
        ],
        "hidden": [
            *hidden,
            ("job", str(_job_id(request) or uuid4())),
            ("asked", now.isoformat()),
            ("shown", str(reach.letters)),
        ],
        "rate": request.POST.get("rate", ""),
        "reason_required": needs_reason,
        "may_try": may_try,
        "reason": request.POST.get("reason", ""),
        "error": error,
        "verb": act.capitalize(),
        "back": back,
    }
    template = "dashboard/letters/many.html" if reach.letters else "dashboard/letters/nothing.html"
    return render(request, template, context, status=status if reach.letters else 409)


def _as_shown(selection: Selection, asked: datetime) -> Selection:
    """What died before the page said how many they are."""
    return replace(selection, until=asked if selection.until is None else min(asked, selection.until))


def acts_on_letters(user: object) -> bool:
    """Whether there is anything that this user may do with many."""
    return any(may_act(user, permission) for permission in PERMISSIONS.values())


def _nothing(ticked: int | None) -> str:
    if ticked == 0:
        return "No letter was selected: tick some, and ask again."
    return "Nothing matches any more: others have dealt with it."


def _job_id(request: HttpRequest, *, dry_run: bool = False) -> UUID | None:
    """The same for a form that is sent twice; another one when it was only tried the first time."""
    try:
        job_id = UUID(request.POST.get("job", ""))
        return uuid5(job_id, "dry run") if dry_run else job_id
    except ValueError:
        return None
