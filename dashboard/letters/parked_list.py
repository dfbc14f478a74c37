"""The list of parked keys, as it is and as it changes."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_safe

from accounts.models import User
from dashboard.asking import one_look
from dashboard.letters.filters import Place
from dashboard.letters.selectors import PAGE_SIZE, parked_of
from dashboard.live import LivePage, Regions, asked_once, live_stream
from dashboard.operators import for_those_who_look, may_act
from outbox.models import ParkedKey
from outbox.registry import all_consumers

INTERVAL = 2.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The keys of one consumer, or one key, where the address says so."""

    consumer: str
    key: str

    @classmethod
    def by(cls, request: HttpRequest) -> "Asked":
        """What the address says."""
        return cls(request.GET.get("consumer", ""), request.GET.get("key", ""))


@dataclass(frozen=True, slots=True)
class Watched:
    """These keys, with boxes to tick for those who act."""

    asked: Asked
    acts: bool


@require_GET
@for_those_who_look
def parked_list(request: HttpRequest) -> HttpResponse:
    """The keys that wait, those parked last first; of one consumer where the address names it."""
    before = Place.read(request.GET.get("before", ""))
    context = {
        **_page_of(Asked.by(request), before),
        "acts": _acts(request.user),
        "consumers": [declared.name for declared in all_consumers()],
        "live": before is None,
    }
    return render(request, "dashboard/letters/parked_list.html", context)


def _acts(user: object) -> bool:
    return may_act(user, "release_parkedkey")


def _page_of(asked: Asked, before: Place | None = None) -> dict[str, Any]:
    rows = ParkedKey.objects.order_by("-parked_at", "-id")
    if asked.consumer and "\x00" not in asked.consumer:
        rows = rows.filter(consumer=asked.consumer)
    if asked.key and "\x00" not in asked.key:
        rows = rows.filter(key=asked.key)
    if before is not None:
        rows = rows.filter(Q(parked_at__lt=before.at) | Q(id__lt=before.id), parked_at__lte=before.at)
    found = list(rows[: PAGE_SIZE + 1])
    shown = parked_of(found[:PAGE_SIZE])
    older = str(Place(shown[-1].row.parked_at, shown[-1].row.id)) if len(found) > PAGE_SIZE else ""
    return {
        "parked": shown,
        "older": older,
        "consumer": asked.consumer,
        "key": asked.key,
    }


def _read(asked: Asked) -> dict[bool, Regions]:
    """For those who act, and for those who do not."""
    with one_look():
        page = _page_of(asked)
    parts = {"parked-rows": "parked_rows", "no-parked": "no_parked"}
    return {
        acts: {
            name: render_to_string(f"dashboard/letters/{part}.html", {**page, "acts": acts})
            for name, part in parts.items()
        }
        for acts in (True, False)
    }


parked_live = LivePage[Watched](
    "parked-keys",
    {"parked": asked_once(_read, lambda watched: watched.asked, lambda both, watched: both[watched.acts])},
    interval=INTERVAL,
)


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The first page as server-sent events."""

    def question(user: User) -> Watched:
        return Watched(Asked.by(request), _acts(user))

    return await live_stream(request, parked_live, question)
