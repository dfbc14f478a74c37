"""Acts on many letters, as workers carry them out: how far they have come, and stopping them."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from dashboard.operators import for_those_who_act, for_those_who_look, may_act, operator_of
from outbox import clock
from outbox.errors import NoSuchJob
from outbox.repair import jobs
from outbox.repair.jobs import PERMISSIONS, JobState, RepairJob

LISTED = 50
SILENT = 15.0  # seconds without a step after which the page says that no worker is at it


@require_GET
@for_those_who_look
def job_list(request: HttpRequest) -> HttpResponse:
    """The latest ones."""
    latest = RepairJob.objects.order_by("-id")[:LISTED]
    return render(request, "dashboard/letters/jobs.html", {"jobs": latest, "listed": LISTED})


@require_GET
@for_those_who_look
def job(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """One job."""
    return render(request, "dashboard/letters/job.html", _context(request, job_id))


@require_GET
@for_those_who_look
def job_now(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """How far it has come: asked again and again until it ends."""
    return render(request, "dashboard/letters/job_now.html", _context(request, job_id))


@require_POST
@for_those_who_act()
def job_stop(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Have it do nothing more. Whoever may begin one of its kind may stop it."""
    try:
        if not may_act(request.user, PERMISSIONS[jobs.get_job(job_id).act]):
            raise PermissionDenied
        jobs.stop(job_id=job_id, operator=operator_of(request))
    except NoSuchJob as error:
        raise Http404(str(error)) from error
    return redirect("repair-job", job_id=job_id)


def _context(request: HttpRequest, job_id: UUID) -> dict[str, object]:
    try:
        found = jobs.get_job(job_id)
    except NoSuchJob as error:
        raise Http404(str(error)) from error
    running = found.state == JobState.RUNNING
    quiet_since = found.worked_at or found.asked_at
    silent = running and (clock.now() - quiet_since).total_seconds() > SILENT
    selection = found.selection
    meant = [
        (name, str(value))
        for name in ("consumer", "cause", "fingerprint", "type", "key")
        if (value := getattr(selection, name)) is not None
    ]
    if selection.since is not None:
        meant.append(("died since", f"{selection.since:%F %T} UTC"))
    if selection.until is not None:
        meant.append(("died before", f"{selection.until:%F %T} UTC"))
    if selection.ids is not None:
        meant = [("selected", f"{len(selection.ids):,} letters")]
    state = {"running": "wait", "done": "ok", "stopped": "idle"}[found.state]
    if found.trouble or silent:
        state = "warn"
    return {
        "job": found,
        "running": running,
        "silent": silent,
        "meant": meant,
        "state": state,
        "whole": max(found.total, found.done),
        "may_act": may_act(request.user, PERMISSIONS[found.act]),
    }
