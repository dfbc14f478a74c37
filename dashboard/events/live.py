"""What changes on an event's page: read and rendered once a while for all who watch the same event."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from accounts.models import User
from dashboard.asking import one_look
from dashboard.events.failures import failures_of, passed_over
from dashboard.events.story import story_of
from dashboard.events.waits import in_kafka_at, waits_of
from dashboard.live import LivePage, Regions, asked_once, live_stream
from dashboard.operators import may_act
from outbox import clock
from outbox.ids import time_of
from outbox.models import Outcome, ParkedKey, Refusal
from outbox.selectors import Trace, get_trace

_REGIONS = {
    "event-held": "held",
    "event-way": "way",
    "event-waits": "waits",
    "event-failures": "failures",
    "event-story": "whole_story",
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What a viewer may do about an event that Kafka has refused."""

    resends: bool
    discards: bool

    @classmethod
    def of(cls, user: object) -> "Rights":
        """Those of this user."""
        return cls(may_act(user, "resend_refusal"), may_act(user, "discard_refusal"))


@dataclass(frozen=True, slots=True)
class Watched:
    """An event, and what its viewer is offered."""

    event_id: UUID
    rights: Rights


def standing_of(trace: Trace, rights: Rights) -> dict[str, Any]:
    """What the regions' templates need."""
    failures = failures_of(trace.event.id)
    return {
        "trace": trace,
        "event": trace.event,
        "rights": rights,
        "written_at": time_of(trace.event.id),
        "in_kafka_at": in_kafka_at(trace),
        "waits": waits_of(trace, now=clock.now(), letters=[one.letter for one in failures]),
        "story": story_of(trace.event),
        "failures": failures,
        "passed_over": passed_over(trace),
        "parked": _parked(trace),
        "refusal": Refusal.objects.filter(event_id=trace.event.id).first(),
    }


def _parked(trace: Trace) -> list[ParkedKey]:
    """The keys of consumers in which the event waits, with what it waits behind."""
    names = [one.consumer for one in trace.consumers if one.status == Outcome.PARKED]
    at = Q(topic=trace.event.topic, key=trace.event.key, consumer__in=names)
    return list(ParkedKey.objects.filter(at).order_by("consumer", "-generation")) if names else []


def _regions(watched: Watched) -> Regions:
    """None of an event that is no longer in the outbox: its page stays as it was."""
    with one_look():
        trace = get_trace(event_id=watched.event_id, owner=None)
        if trace is None:
            return {}
        standing = standing_of(trace, watched.rights)
        return {
            region: render_to_string(f"dashboard/events/{template}.html", standing)
            for region, template in _REGIONS.items()
        }


event_live = LivePage[Watched](
    "event", {"event": asked_once(_regions, lambda watched: watched, lambda regions, _: regions)}
)


@require_safe
async def stream(request: HttpRequest, event_id: UUID) -> HttpResponseBase:
    """The page's regions as server-sent events."""

    def question(user: User) -> Watched:
        return Watched(event_id, Rights.of(user))

    return await live_stream(request, event_live, question)
