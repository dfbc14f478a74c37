"""The page of payment volumes: its question is its address."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from accounts.models import User
from analytics.errors import AnalyticsError, UnknownZone
from analytics.models import STATUSES
from analytics.slots import LATEST, SLOTS, WIDTHS, Span, span_of, zone_named
from contracts.money import CODES
from dashboard.payment_list import ANY
from dashboard.views import signed_in
from dashboard.volumes import MOST_SLOTS, Question, rows_in_page_order, rows_of
from outbox import clock

# As MOST_SLOTS.
MOST_ROWS = 3_000
# The viewer's zone, as the browser says it (js/zone.js).
ZONE_COOKIE = "zone"
SLOT_WORDS = {"1m": "minute", "5m": "5 minutes", "1h": "hour", "1d": "day"}


class VolumesForm(forms.Form):
    """What the address may ask for. `from` and `to` are times of the zone; a page without `to` is live.

    `since` is for the stream of such a page: the beginning of its range in seconds since 1970. However long
    the page stays open, that is never too far away to go on.
    """

    slot = forms.ChoiceField(required=False, choices=[(slot, SLOT_WORDS[slot]) for slot in SLOTS])
    currency = forms.ChoiceField(required=False, choices=[ANY, *((code, code) for code in CODES)])
    status = forms.ChoiceField(required=False, choices=[ANY, *((status, status) for status in STATUSES)])
    tz = forms.CharField(required=False, max_length=64)
    to = forms.CharField(required=False, max_length=40)
    since = forms.IntegerField(required=False, min_value=0, max_value=int(LATEST.timestamp()) - 1)

    def __init__(self, data: Mapping[str, Any], *, zone: str) -> None:
        super().__init__(data)
        self.zone = zone
        # A word that no attribute can have.
        self.fields["from"] = forms.CharField(required=False, max_length=40)

    @property
    def start(self) -> str:
        """What was given as `from`."""
        return str(self.data.get("from", ""))

    def clean_slot(self) -> str:
        """Minutes when nothing is said."""
        return str(self.cleaned_data["slot"] or "1m")

    def clean_tz(self) -> str:
        """The viewer's zone when nothing is said."""
        name: str = self.cleaned_data["tz"] or self.zone
        try:
            zone_named(name)
        except UnknownZone as error:
            raise forms.ValidationError(str(error)) from error
        return name

    def clean(self) -> dict[str, Any]:
        """With the span."""
        data: dict[str, Any] = super().clean() or {}
        if self.errors:
            return data
        try:
            span = span_of(
                slot=data["slot"],
                start=data["from"] or None,
                end=data["to"] or None,
                zone=zone_named(data["tz"]),
                now=clock.now(),
            )
        except AnalyticsError as error:
            self.add_error(error.field or None, str(error))
            return data
        # Days are up to 25 hours long; a year of minutes is not spelt out to be counted.
        longest = (MOST_SLOTS + 1) * WIDTHS[span.slot] * 25 / 24
        if span.end - span.start > longest or len(span.boundaries()) - 1 > MOST_SLOTS:
            self.add_error(
                "from", f"The page shows at most {MOST_SLOTS} slots: ask for longer ones, or fewer."
            )
        data["span"] = span
        return data

    def question(self, user: User) -> Question:
        """What is asked, by this user."""
        data = self.cleaned_data
        since = None if data["since"] is None else datetime.fromtimestamp(data["since"], UTC)
        return Question(data["slot"], data["tz"], user.sees_merchant, data["currency"], data["status"], since)


@login_required
@require_GET
def volumes(request: HttpRequest) -> HttpResponse:
    """Charts and the table that they are drawn from. What is wrong with the address is said instead."""
    user = signed_in(request)
    form = VolumesForm(request.GET, zone=zone_of(request))
    page: dict[str, Any] = {"form": form, "sees_all": user.sees_merchant is None}
    if not form.is_valid():
        return render(request, "dashboard/volumes.html", page, status=400)
    now, span, question = clock.now(), form.cleaned_data["span"], form.question(user)
    try:
        rows = rows_of(question, span, now=now)
    except AnalyticsError as error:  # more currencies than a page can show
        form.add_error(error.field, str(error))
        return render(request, "dashboard/volumes.html", page, status=400)
    live = not form.cleaned_data["to"]
    since = {"since": str(int(span.start.timestamp()))} if form.cleaned_data["from"] else {}
    page |= {
        "rows": rows_in_page_order(rows)[:MOST_ROWS],
        "left_out": max(len(rows) - MOST_ROWS, 0),
        "slots": " ".join(str(int(start.timestamp())) for start in shown_slots(span, now)),
        "question": question,
        "statuses": STATUSES,
        "moving": not form.cleaned_data["from"],
        "live": live,
        "stream": f"{reverse('volumes-stream')}?{_address(question, **since)}" if live else "",
        "csv": f"{reverse('payment-volumes')}?{_csv(question, span)}",
    }
    return render(request, "dashboard/volumes.html", page)


def zone_of(request: HttpRequest) -> str:
    """The viewer's zone as the browser has said it; UTC until it has."""
    name = unquote(request.COOKIES.get(ZONE_COOKIE, ""))
    try:
        return zone_named(name).key
    except UnknownZone:
        return "UTC"


def shown_slots(span: Span, now: datetime) -> list[datetime]:
    """The slots to draw: those of the span that have begun, also where nothing was paid."""
    return [start for start in span.boundaries()[:-1] if start <= now]


def _address(question: Question, **more: str) -> str:
    asked = {"slot": question.slot, "tz": question.zone}
    asked |= {"currency": question.currency} if question.currency else {}
    asked |= {"status": question.status} if question.status else {}
    return urlencode({**asked, **more})


def _csv(question: Question, span: Span) -> str:
    bounds = {
        "from": span.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "to": span.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return f"{_address(question)}&{urlencode({**bounds, 'format': 'csv'})}"
