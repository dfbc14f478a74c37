"""Events, searched and as they come in."""

from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe

from accounts.models import User
from dashboard.events.form import EventsFilter
from dashboard.events.question import Question, address
from dashboard.events.search import search
from dashboard.events.tail import live_events, rows_of, told_of
from dashboard.live import live_stream
from dashboard.operators import for_those_who_look
from dashboard.volumes_page import zone_of
from outbox.registry import all_consumers


@require_GET
@for_those_who_look
def events(request: HttpRequest) -> HttpResponse:
    """The table. A filter that means nothing is said to, and nothing is shown."""
    asked = EventsFilter(request.GET, zone=zone_of(request))
    shown: dict[str, Any] = {"filter": asked, "consumers": all_consumers()}
    if not asked.is_valid():
        return render(request, "dashboard/events/page.html", shown, status=400)
    question, (before, after) = asked.question, asked.place
    page = search(question, before=before, after=after)
    shown |= {
        "page": page,
        "rows": rows_of(page),
        "told": told_of(page, question),
        "filtered": question != Question(),
        "latest": address(question),
        "stream": f"{reverse('events-stream')}{address(question)}" if asked.is_first_page_of_now else "",
    }
    return render(request, "dashboard/events/page.html", shown)


@require_safe
async def events_stream(request: HttpRequest) -> HttpResponseBase:
    """The table's rows as they change. 400 for filters that mean nothing, or that nothing new can fit."""
    return await live_stream(request, live_events, partial(_question, request))


def _question(request: HttpRequest, _: User) -> Question | None:
    asked = EventsFilter(request.GET, zone=zone_of(request))
    return asked.question if asked.is_first_page_of_now else None
