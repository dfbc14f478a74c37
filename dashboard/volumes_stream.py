"""Volumes as server-sent events: the rows that have changed, once a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_safe

from accounts.models import User
from dashboard.operators import may_look
from dashboard.stream import RETRY_MS, STREAM_LIFETIME, badge_message, event_stream, message
from dashboard.volumes import Question
from dashboard.volumes_changes import Change
from dashboard.volumes_live import Told, live_volumes
from dashboard.volumes_page import VolumesForm, zone_of
from outbox.stopping import call_when_server_stops


@require_safe
async def volumes_stream(request: HttpRequest) -> HttpResponseBase:
    """What changes in the answer to the address's question. 401 for whoever is not signed in."""
    user = await request.auser()
    question = await sync_to_async(_question)(request, user) if isinstance(user, User) else None
    looks = await sync_to_async(may_look)(user)
    # The stream may stay open for minutes; the connection that looked the user up must not.
    await sync_to_async(connections.close_all)()
    if not isinstance(user, User):
        return HttpResponse(status=401)
    if question is None:
        return HttpResponse(status=400)
    if request.method == "HEAD":
        return HttpResponse(content_type="text/event-stream")
    call_when_server_stops(live_volumes.close)
    return event_stream(_stream(question, looks=looks))


def _question(request: HttpRequest, user: User) -> Question | None:
    form = VolumesForm(request.GET, zone=zone_of(request))
    return form.question(user) if form.is_valid() else None


async def _stream(question: Question, *, looks: bool) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    badge = None
    try:
        async with asyncio.timeout(STREAM_LIFETIME), aclosing(live_volumes.watch(question)) as moments:
            async for told in moments:
                yield volumes_message(told, question)
                counted = badge_message(told.badge)
                if looks and counted is not None and counted != badge:
                    badge = counted
                    yield badge
    except TimeoutError:
        return


@lru_cache(maxsize=64)
def volumes_message(told: Told, question: Question) -> str:
    """The rows that may have changed, the last slots of the range, and since when a part is away."""
    change = told.changes.get(question, Change())
    return message(
        "volumes",
        {
            "at": told.at.isoformat(timespec="milliseconds"),
            "slots": [int(start.timestamp()) for start in change.slots],
            "whole": [[int(start.timestamp()), currency] for start, currency in change.whole],
            "html": change.html,
            "away": told.away_since and told.away_since.isoformat(timespec="milliseconds"),
        },
    )
