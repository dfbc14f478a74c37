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

# Alike for all who look; what follows from their rights is told to each kind of them.
_REGIONS = {
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


@dataclass(frozen=True, slots=True)
class _Told:
    """An event's regions, and what the one needs that follows from the viewer's rights."""

    regions: Regions
    standing: dict[str, Any]


def standing_of(trace: Trace) -> dict[str, Any]:
    """What the regions' templates need, besides the viewer's `rights`."""
    failures = failures_of(trace.event.id)
    return {
        "trace": trace,
        "event": trace.event,
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


def _read(event_id: UUID) -> _Told | None:
    """None for an event that is no longer in the outbox: its page stays as it was."""
    with one_look():
        trace = get_trace(event_id=event_id, owner=None)
        if trace is None:
            return None
        standing = standing_of(trace)
        regions = {region: _rendered(template, standing) for region, template in _REGIONS.items()}
        return _Told(regions, standing)


def _told(told: _Told | None, watched: Watched) -> Regions:
    if told is None:
        return {}
    held = _rendered("held", {**told.standing, "rights": watched.rights})
    return {**told.regions, "event-held": held}


def _rendered(template: str, given: dict[str, Any]) -> str:
    return render_to_string(f"dashboard/events/{template}.html", given)


event_live = LivePage[Watched]("event", {"event": asked_once(_read, lambda watched: watched.event_id, _told)})


@require_safe
async def stream(request: HttpRequest, event_id: UUID) -> HttpResponseBase:
    """The page's regions as server-sent events."""

    def question(user: User) -> Watched:
        return Watched(event_id, Rights.of(user))

    return await live_stream(request, event_live, question)
