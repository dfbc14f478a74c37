"""What is wrong now, and since when."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from accounts.models import User
from dashboard.alerts.selectors import Picture, picture
from dashboard.asking import one_look
from dashboard.live import LivePage, Regions, live_stream
from dashboard.operators import for_those_who_act, for_those_who_look, may_act, operator_of
from outbox import clock
from outbox.alerts.alarms import Alarm
from outbox.alerts.silencing import silence
from outbox.errors import NoSuchAlarm, RepairRefused

_REGIONS = ("watch", "present", "ended", "told")
_HOURS = ((1, "1 hour"), (4, "4 hours"), (24, "1 day"), (168, "7 days"))


def _regions(shown: Picture, *, acts: bool) -> Regions:
    return {
        name: render_to_string(f"dashboard/alerts/{name}.html", {"picture": shown, "may_act": acts})
        for name in _REGIONS
    }


def _read(asked: Collection[bool]) -> Mapping[bool, Regions]:
    """For those who may act, and for those who may only look."""
    with one_look():
        shown = picture()
    return {acts: _regions(shown, acts=acts) for acts in asked}


alerts_page = LivePage[bool]("alerts", {"alarms": _read})


@require_GET
@for_those_who_look
def page(request: HttpRequest) -> HttpResponse:
    """What is wrong now, what ended lately, and who is told."""
    return _page(request)


def _page(request: HttpRequest, *, notice: str = "", status: int = 200) -> HttpResponse:
    shown = {
        "picture": picture(),
        "may_act": may_act(request.user, "silence_alarm"),
        "notice": notice,
    }
    return render(request, "dashboard/alerts/page.html", shown, status=status)


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The same, live."""

    def question(user: User) -> bool:
        return may_act(user, "silence_alarm")

    return await live_stream(request, alerts_page, question)


class SilenceForm(forms.Form):
    """For how many hours nobody is to be told; 0 ends a silence."""

    hours = forms.TypedChoiceField(
        coerce=int, choices=[(0, "Not any more"), *_HOURS], error_messages={"required": "Say for how long."}
    )
    reason = forms.CharField(
        max_length=500, error_messages={"required": "Say why, for those who come after: a reason is missing."}
    )


@require_http_methods(["GET", "POST"])
@for_those_who_act("silence_alarm")
def silence_alarm(request: HttpRequest, alarm_id: int) -> HttpResponse:
    """Ask, and have nobody told of an alarm for some hours."""
    alarm = Alarm.objects.filter(id=alarm_id).first()
    if alarm is None:
        raise Http404("There is no such alarm.")
    if alarm.ended_at is not None:
        return _page(request, notice=f"{alarm} is over already: nothing was silenced.", status=409)
    error, form = "", SilenceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        duration = timedelta(hours=form.cleaned_data["hours"])
        operator = operator_of(request, reason=form.cleaned_data["reason"])
        try:
            silence(alarm_id=alarm.id, duration=duration, operator=operator)
        except NoSuchAlarm:
            return _page(request, notice=f"{alarm} is over by now: nothing was silenced.", status=409)
        except RepairRefused as refusal:
            error = str(refusal)
        else:
            return redirect("alerts")
    elif request.method == "POST":
        error = " ".join(str(each[0]) for each in form.errors.values())
    silenced = alarm.silenced_until is not None and alarm.silenced_until > clock.now()
    shown = {
        "title": f"Silence: {alarm}",
        "consequence": "Nobody is told that this alarm lasts. It stays on the page, and when it comes again"
        " after it was over, people are told.",
        "details": [alarm.said],
        "hours": [*([(0, "Not any more")] if silenced else []), *_HOURS],
        "chosen": form.data.get("hours", "4"),
        "reason": form.data.get("reason", ""),
        "reason_required": True,
        "error": error,
        "verb": "Silence",
        "back": "../../",
    }
    return render(request, "dashboard/alerts/silence.html", shown, status=422 if error else 200)
