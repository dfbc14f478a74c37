"""Steering a consumer: each command says what it will do in numbers, asks why, and is written down."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from dashboard import formats
from dashboard.consumers.selectors import asides_if_known, standings
from dashboard.consumers.standing import Standing
from dashboard.consumers.views import declared
from dashboard.forms import ReasonForm
from dashboard.operators import for_those_who_act, operator_of
from outbox import pausing
from outbox.errors import OutboxError
from outbox.generations import live_generation
from outbox.rebuild_requests import give_up, half_built, mark, request_rebuild
from outbox.recovery import Family, family_of
from outbox.repair.acts import Operator

CONFLICT = 409
UNPROCESSABLE = 422


class CommandForm(ReasonForm):
    """Why something is done, and what was shown before it.

    Of a rebuild also whether what Kafka no longer has may be lost.
    """

    drop_history = forms.BooleanField(required=False)
    shown = forms.CharField(required=False)


def said_of(form: ReasonForm) -> str:
    """What is wrong with the reason."""
    if not str(form.data.get("reason", "")).strip():
        return "Say why, for those who come after."
    return str(form.errors["reason"][0]) if "reason" in form.errors else ""


@dataclass(frozen=True, slots=True)
class Command:
    """What can be asked of a consumer.

    verb         what the button says
    consequence  what it does, with numbers
    details      what else is to be known
    shown        the mark of what is acted on, as it is
    carry_out    does it; once, however often it is asked for, and only to what was shown
    """

    title: str
    verb: str
    consequence: Callable[[Standing], str]
    details: Callable[[Standing], Iterator[str]]
    shown: Callable[[Standing], str]
    carry_out: Callable[[Standing, Operator, CommandForm], Any]


@require_http_methods(["GET", "POST"])
@for_those_who_act("steer_consumer")
def steer(request: HttpRequest, name: str, steering: str) -> HttpResponse:
    """Ask before it, then do it. 422 without a reason; 409 where it is refused, with the refusal's words."""
    if steering not in _COMMANDS:
        raise Http404("There is no such command.")
    asked, consumer = _COMMANDS[steering], declared(name)
    if consumer.projection is None and steering in {"rebuild", "abandon"}:
        raise Http404(f"{name} is no projection: it cannot be rebuilt.")
    [standing] = standings([consumer])
    form = CommandForm(request.POST) if request.method == "POST" else None
    if form is None:
        return _ask(request, asked, standing)
    if not form.is_valid():
        return _ask(request, asked, standing, error=said_of(form), status=UNPROCESSABLE)
    operator = operator_of(request, reason=form.cleaned_data["reason"])
    try:
        asked.carry_out(standing, operator, form)
    except OutboxError as error:
        [standing] = standings([declared(name)])
        return _ask(request, asked, standing, error=str(error), status=CONFLICT)
    except DatabaseError as error:
        if family_of(error) is not Family.CONTENTION:
            raise
        said = "A batch is under way that would not let go: try again in a moment."
        return _ask(request, asked, standing, error=said, status=CONFLICT)
    return redirect("consumer", name=name)


def _ask(
    request: HttpRequest, asked: Command, standing: Standing, *, error: str = "", status: int = 200
) -> HttpResponse:
    name = standing.consumer.name
    page = {
        "hidden": [("shown", asked.shown(standing))],  # before what is told of it: never of a later one
        "title": f"{asked.title} {name}",
        "consequence": asked.consequence(standing),
        "details": list(asked.details(standing)),
        "reason_required": True,
        "reason": request.POST.get("reason", ""),
        "error": error,
        "verb": asked.verb,
        "back": reverse("consumer", args=[name]),
        "may_drop_history": asked.carry_out is _rebuild and standing.rebuild and standing.rebuild.error,
    }
    return render(request, "dashboard/consumers/confirm.html", page, status=status)


def plural(number: int | None, one: str, many: str = "") -> str:
    """1 event, 2 events; an unknown number of events."""
    if number is None:
        return f"an unknown number of {many or f'{one}s'}"
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def _pause(standing: Standing, operator: Operator, _: CommandForm) -> None:
    pausing.pause(consumer=standing.consumer, by=operator.name, reason=operator.reason, via=operator.via)


def _pausing(standing: Standing) -> str:
    instances = plural(len(standing.lag.members), "instance")
    waiting = plural(standing.lag.events, "event")
    return f"Its {instances} will process nothing until it is resumed; {waiting} wait now."


def _about_pausing(standing: Standing) -> Iterator[str]:
    if standing.pause is not None:
        yield f"It is paused already, by {standing.pause.by}: nothing will change."
    rates, limit = standing.lag.rates, formats.limit(standing.consumer.sync_delay_limit)
    if rates is not None and rates.into > 0:
        more = plural(round(rates.into * 60), "more event")
        yield f"{formats.rate(rates.into)} come in: after a minute {more} will wait. Its limit is {limit}."
    else:
        yield f"Nothing has come in for a minute. What comes will be later than its limit of {limit}."
    yield "Other services go on, and nothing is lost: events wait in Kafka."


def _resume(standing: Standing, operator: Operator, form: CommandForm) -> None:
    pausing.resume(
        consumer=standing.consumer,
        by=operator.name,
        reason=operator.reason,
        via=operator.via,
        shown=form.cleaned_data["shown"],
    )


def _resuming(standing: Standing) -> str:
    waiting = plural(standing.lag.events, "event")
    late = f", the oldest {standing.seconds} late" if standing.seconds.known and standing.lag.events else ""
    return f"{waiting} that wait will be processed{late}."


def _about_resuming(standing: Standing) -> Iterator[str]:
    if standing.pause is None:
        yield "It is not paused: nothing will change."
    elif standing.pause.by == pausing.ITSELF:
        yield f"It paused itself: {standing.pause.reason}"
        for aside in asides_if_known([standing.consumer]).values():
            yield f"It has {plural(aside.dead.count, 'open dead letter')}."
        yield "Unless the cause is mended it will do so again."
    else:
        yield f"Paused by {standing.pause.by}: {standing.pause.reason or 'no reason was given'}."
    if not standing.lag.members:
        yield "No instance is there: it goes on when one is started."


def _paused(standing: Standing) -> str:
    return pausing.mark(standing.pause)


def _rebuild(standing: Standing, operator: Operator, form: CommandForm) -> None:
    given = {name: form.cleaned_data[name] for name in ("drop_history", "shown")}
    request_rebuild(consumer=standing.consumer, operator=operator, **given)


def _building(standing: Standing) -> str:
    consumer = standing.consumer
    half = half_built(consumer)
    live = live_generation(consumer.name, using=consumer.using)
    if half is not None:
        so_far = _so_far(standing)
        return (
            f"Goes on with generation {half.generation}{so_far}, beside generation {live}, live until then."
        )
    records = plural(standing.lag.produced, "record")
    return (
        f"Reads up to {records} of {', '.join(consumer.topics)} from the beginning, beside generation {live},"
        " which stays live until the new one has caught up and replaces it."
    )


def _about_building(_: Standing) -> Iterator[str]:
    yield "A Celery worker carries it out, also after a restart; once begun it tells how long that takes."


def _give_up(standing: Standing, operator: Operator, form: CommandForm) -> None:
    give_up(consumer=standing.consumer, operator=operator, shown=form.cleaned_data["shown"])


def _giving_up(standing: Standing) -> str:
    half = half_built(standing.consumer)
    if half is None:
        return "No half-built generation is there to be given up."
    live = live_generation(standing.consumer.name, using=standing.consumer.using)
    return f"Gives up generation {half.generation}{_so_far(standing)}. Generation {live} stays live as it is."


def _about_giving_up(_: Standing) -> Iterator[str]:
    yield "A worker removes what was built, within seconds. Another rebuild begins from the beginning."


def _half_built(standing: Standing) -> str:
    return mark(half_built(standing.consumer))


def _so_far(standing: Standing) -> str:
    request = standing.rebuild
    if request is None or request.records is None:
        return ""
    return f", of which {request.read:,} of {plural(request.records, 'record')} are read"


_COMMANDS = {
    "pause": Command("Pause", "Pause it", _pausing, _about_pausing, _paused, _pause),
    "resume": Command("Resume", "Resume it", _resuming, _about_resuming, _paused, _resume),
    "rebuild": Command("Rebuild", "Rebuild it", _building, _about_building, _half_built, _rebuild),
    "abandon": Command(
        "Give up the rebuild of", "Give it up", _giving_up, _about_giving_up, _half_built, _give_up
    ),
}
