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
class Watched:
    """The keys of one consumer, or one key, where these are said; with boxes to tick for those who act."""

    consumer: str
    key: str
    acts: bool

    @classmethod
    def asked(cls, request: HttpRequest, user: object) -> "Watched":
        """What the address says."""
        consumer, key = request.GET.get("consumer", ""), request.GET.get("key", "")
        return cls(consumer, key, may_act(user, "release_parkedkey"))


@require_GET
@for_those_who_look
def parked_list(request: HttpRequest) -> HttpResponse:
    """The keys that wait, those parked last first; of one consumer where the address names it."""
    before = Place.read(request.GET.get("before", ""))
    context = {
        **_page_of(Watched.asked(request, request.user), before),
        "consumers": [declared.name for declared in all_consumers()],
        "live": before is None,
    }
    return render(request, "dashboard/letters/parked_list.html", context)


def _page_of(watched: Watched, before: Place | None = None) -> dict[str, Any]:
    rows = ParkedKey.objects.order_by("-parked_at", "-id")
    if watched.consumer and "\x00" not in watched.consumer:
        rows = rows.filter(consumer=watched.consumer)
    if watched.key and "\x00" not in watched.key:
        rows = rows.filter(key=watched.key)
    if before is not None:
        rows = rows.filter(Q(parked_at__lt=before.at) | Q(id__lt=before.id), parked_at__lte=before.at)
    found = list(rows[: PAGE_SIZE + 1])
    shown = parked_of(found[:PAGE_SIZE])
    older = str(Place(shown[-1].row.parked_at, shown[-1].row.id)) if len(found) > PAGE_SIZE else ""
    return {
        "parked": shown,
        "older": older,
        "consumer": watched.consumer,
        "key": watched.key,
        "acts": watched.acts,
    }


def _regions(watched: Watched) -> Regions:
    with one_look():
        page = _page_of(watched)
    parts = {"parked-rows": "parked_rows", "no-parked": "no_parked"}
    return {name: render_to_string(f"dashboard/letters/{part}.html", page) for name, part in parts.items()}


parked_live = LivePage[Watched](
    "parked-keys",
    {"parked": asked_once(_regions, lambda watched: watched, lambda regions, _: regions)},
    interval=INTERVAL,
)


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The first page as server-sent events."""

    def question(user: User) -> Watched:
        return Watched.asked(request, user)

    return await live_stream(request, parked_live, question)
