"""The flow as server-sent events: figures as JSON once a second, table rows as HTML when they have changed.

What is sent is made once for all viewers. A stream ends after STREAM_LIFETIME, and the
browser comes back: so a session that has ended meanwhile is noticed.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import lru_cache

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from accounts.models import User
from dashboard.operators import may_act, may_look
from dashboard.pipeline import Stage, pipeline
from dashboard.sampler import Flow, sampler
from outbox.stopping import call_when_server_stops

STREAM_LIFETIME = 300.0
RETRY_MS = 1_000


@require_safe
async def flow_stream(request: HttpRequest) -> HttpResponseBase:
    """The page's live figures. 401 for whoever is not signed in, 403 for merchants."""
    user = await request.auser()
    looks, acts = await sync_to_async(lambda: (may_look(user), may_act(user)))()
    # The stream may stay open for minutes; the connection that looked the user up must not.
    await sync_to_async(connections.close_all)()
    if not isinstance(user, User):
        return HttpResponse(status=401)
    if not looks:
        return HttpResponse(status=403)
    if request.method == "HEAD":
        return HttpResponse(content_type="text/event-stream")
    call_when_server_stops(sampler.close)
    return event_stream(_stream(acts=acts))


def event_stream(messages: AsyncIterator[str]) -> StreamingHttpResponse:
    """An answer that goes on, which no proxy in between may hold back."""
    response = StreamingHttpResponse(messages, content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


async def _stream(*, acts: bool) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    rows = badge = None
    try:
        async with asyncio.timeout(STREAM_LIFETIME), aclosing(sampler.watch(None)) as flows:
            async for flow in flows:
                yield pipeline_message(flow, acts)
                counted = badge_message(flow.database.value.badge if flow.database.value else None)
                if counted is not None and counted != badge:
                    badge = counted
                    yield badge
                latest = events_message(flow)
                if latest is not None and latest != rows:
                    rows = latest
                    yield latest
    except TimeoutError:
        return


@lru_cache(maxsize=4)
def pipeline_message(flow: Flow, acts: bool) -> str:
    """The state of every stage, and its figures."""
    picture = pipeline(flow, acts=acts)
    return message(
        "pipeline",
        {
            "at": flow.at.isoformat(timespec="milliseconds"),
            "away": flow.database.away_since is not None,
            # Apart, because a service may have the name of a stage: payments is both.
            "stages": {stage.name: _stage(stage) for stage in picture.stages},
            "lanes": {lane.name: _stage(lane) for lane in picture.lanes},
            "notices": render_to_string("dashboard/parts/notices.html", {"notices": picture.notices}),
        },
    )


def _stage(stage: Stage) -> dict[str, object]:
    figures = {
        figure.key: {
            "value": figure.text.value,
            "unit": figure.text.unit,
            "known": figure.text.known,
            "beyond": figure.beyond,
        }
        for figure in stage.figures
    }
    remedy = render_to_string("dashboard/parts/remedy.html", {"remedy": stage.remedy}) if stage.remedy else ""
    shown: dict[str, object] = {
        "state": stage.state,
        "word": stage.word,
        "remedy": remedy,
        "figures": figures,
        "moved": stage.moved,
    }
    if stage.consumer is not None:
        shown["delay"] = None if stage.delay is None else round(stage.delay.total_seconds(), 4)
    return shown


@lru_cache(maxsize=2)
def events_message(flow: Flow) -> str | None:
    """The latest events as table rows; None while they are not known."""
    sample = flow.database.value
    return None if sample is None or sample.events is None else message("events", {"html": sample.events})


def badge_message(badge: str | None) -> str | None:
    """How many alarms there are, for the navigation; None while that is not known."""
    return None if badge is None else message("badge", {"html": badge})


def message(name: str, data: object) -> str:
    """One server-sent event, with its data as JSON."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
