"""Acts on many letters, as workers carry them out: how far they have come, what failed, and stopping them."""

from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_safe

from dashboard.asking import one_look
from dashboard.formats import Bounded
from dashboard.letters.selectors import first_line
from dashboard.letters.walks import LINE
from dashboard.live import LivePage, Regions, asked_once, live_stream
from dashboard.operators import for_those_who_act, for_those_who_look, may_act, operator_of
from dashboard.posting import only_posted
from outbox import clock
from outbox.errors import NoSuchJob
from outbox.models import DeadLetter, LetterState
from outbox.repair import jobs
from outbox.repair.acts import Result, died_in
from outbox.repair.jobs import DRY_RUN, PERMISSIONS, JobState, RepairJob
from outbox.repair.matching import Selection

LISTED = 50
INTERVAL = 2.0
SILENT = 15.0  # seconds without a step after which the page says that no worker is at it
MOST_FAILED = 1_000  # letters that failed and are looked at for their causes
_AGAIN = {"replay": "died again", DRY_RUN: "would die again", "discard": "passed over"}


@require_GET
@for_those_who_look
def job_list(request: HttpRequest) -> HttpResponse:
    """The latest ones."""
    return render(request, "dashboard/letters/jobs.html", {"jobs": _latest(), "listed": LISTED})


def _latest() -> list[tuple[RepairJob, str, str]]:
    return [(one, *standing(one)) for one in RepairJob.objects.order_by("-id")[:LISTED]]


def _regions(_: str) -> Regions:
    with one_look():
        jobs = {"jobs": _latest()}
    parts = {"job-rows": "job_rows", "no-jobs": "no_jobs"}
    return {name: render_to_string(f"dashboard/letters/{part}.html", jobs) for name, part in parts.items()}


jobs_live = LivePage[str](
    "repair-jobs", {"jobs": asked_once(_regions, str, lambda regions, _: regions)}, interval=INTERVAL
)


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The latest ones as server-sent events."""
    return await live_stream(request, jobs_live, lambda _: "latest")


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


@for_those_who_act()
@only_posted("repair-job", "job_id")
def job_stop(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Have it do nothing more. Whoever may begin one of its kind may stop it."""
    try:
        if not may_act(request.user, PERMISSIONS[jobs.get_job(job_id).act]):
            raise PermissionDenied
        jobs.stop(job_id=job_id, operator=operator_of(request))
    except NoSuchJob as error:
        raise Http404(str(error)) from error
    return redirect("repair-job", job_id=job_id)


def standing(job: RepairJob, *, silent: bool = False) -> tuple[str, str]:
    """How a job stands: its mark, and in words. One is well that has left no letter as it was.

    silent  whether no worker has been at it lately
    """
    running = job.state == JobState.RUNNING
    if running and (job.trouble or silent):
        return "warn", "cannot go on" if job.trouble else "waits for a worker"
    died, left = job.results.get(Result.DIED, 0), job.results.get(Result.NOTHING, 0)
    untried, stopped = job.results.get(Result.UNTRIED, 0), job.would_stop
    again = _AGAIN.get(job.act, "failed")
    words = [
        JobState(job.state).value,
        *([f"{died:,} {again}"] if died else []),
        *([f"behind {stopped:,} an event would die"] if stopped else []),
        *([f"{left:,} left as {'it was' if left == 1 else 'they were'}"] if left else []),
        *([f"{untried:,} not tried"] if untried else []),
    ]
    if died or left or untried or stopped:
        return ("bad" if died == job.done and not running else "warn"), "; ".join(words)
    return {"running": "wait", "done": "ok", "stopped": "idle"}[job.state], words[0]


@dataclass
class Failed:
    """Letters that a job has left open with one cause; the sample is one of them.

    address  the query of the list that has them
    """

    consumer: str
    cause: str
    address: str
    sample: UUID
    error: str
    count: Bounded


def failed(job: RepairJob) -> list[Failed]:
    """What died in a job and is open still, by its cause; of the first MOST_FAILED.

    They are found by what the audit log has of the job. By now they may have another cause than they were
    selected by.
    """
    died = job.results.get(Result.DIED, 0)
    acts = died_in(job.id, using=DEFAULT_DB_ALIAS).values("letter_id")[:MOST_FAILED]
    found = DeadLetter.objects.filter(id__in=acts, state=LetterState.OPEN)
    found = found.only("id", "consumer", "cause", "fingerprint")
    groups: dict[tuple[str, str, str], Failed] = {}
    for letter in found.annotate(begins=Left("error", LINE)):
        name = (letter.consumer, letter.cause, letter.fingerprint)
        if name not in groups:
            address = _address(job.selection, consumer=name[0], cause=name[1], fingerprint=name[2])
            groups[name] = Failed(*name[:2], address, letter.id, first_line(letter), Bounded(0))
        groups[name].count = Bounded(groups[name].count.count + 1, died > MOST_FAILED)
    return sorted(groups.values(), key=lambda group: -group.count.count)


def _all_settled(job: RepairJob) -> bool:
    """Whether something has died in it, all of that is known to be of this job, and none of it is open."""
    died, acts = job.results.get(Result.DIED, 0), died_in(job.id, using=DEFAULT_DB_ALIAS)
    still = DeadLetter.objects.filter(id__in=acts.values("letter_id"), state=LetterState.OPEN)
    return died > 0 and acts.count() == died and not still.exists()


def _address(selection: Selection, **more: str) -> str:
    """The letters' page of what is meant, narrowed."""
    words = {name: getattr(selection, name) for name in ("type", "key")}
    times = {name: at.isoformat() for name in ("since", "until") if (at := getattr(selection, name))}
    return urlencode({**{name: value for name, value in words.items() if value}, **times, **more})


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
    if selection.ids is not None:
        meant = [("selected", f"{len(selection.ids):,} letters")]
    state, word = standing(found, silent=silent)
    still_open = failed(found)
    return {
        "job": found,
        "running": running,
        "silent": silent,
        "meant": meant,
        "times": [("died since", selection.since), ("died before", selection.until)],
        "state": state,
        "word": word,
        "failed": still_open,
        "settled": not running and not still_open and _all_settled(found),
        "whole": max(found.total, found.done),
        "may_act": may_act(request.user, PERMISSIONS[found.act]),
    }
