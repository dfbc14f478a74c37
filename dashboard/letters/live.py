"""The live regions of the page of dead letters: read once a while for all who watch with the same filters."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from accounts.models import User
from dashboard.asking import one_look
from dashboard.letters.filters import Asked, LettersFilter
from dashboard.letters.groups import Groups, groups_of
from dashboard.letters.many import acts_on_letters
from dashboard.letters.selectors import Page, page_of
from dashboard.letters.walks import LOOK_AT
from dashboard.live import LivePage, Regions, asked_once, live_stream
from dashboard.volumes_page import zone_of

INTERVAL = 2.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What a viewer watches: the first page of these letters, with boxes to tick for those who act."""

    asked: Asked
    acts: bool


def regions(groups: Groups, page: Page, watched: Watched) -> Regions:
    """All of the page's regions, by the id of their element."""
    return {**_of_groups(groups, watched.asked), **_of_page(page, watched)}


def _of_groups(groups: Groups, asked: Asked) -> Regions:
    given = {"groups": groups, "asked": asked, "looked_at": f"{LOOK_AT:,}"}
    parts = {"group-rows": "group_rows", "groups-said": "said", "no-letters": "none"}
    return {name: _rendered(template, given) for name, template in parts.items()}


def _of_page(page: Page, watched: Watched) -> Regions:
    older = watched.asked.address(before=str(page.older)) if page.older else ""
    given = {"page": page, "acts": watched.acts, "older": older, "looked_at": f"{LOOK_AT:,}"}
    return {"letter-rows": _rendered("rows", given), "letters-looked": _rendered("looked", given)}


def _rendered(template: str, given: dict[str, Any]) -> str:
    return render_to_string(f"dashboard/letters/{template}.html", given)


def _causes(asked: Asked) -> Regions:
    with one_look():
        return _of_groups(groups_of(asked), asked)


def _letters(asked: Asked) -> dict[bool, Regions]:
    """For those who act, and for those who do not."""
    with one_look():
        page = page_of(asked)
    return {acts: _of_page(page, Watched(asked, acts)) for acts in (True, False)}


def _asked(watched: Watched) -> Asked:
    return watched.asked


letters_live = LivePage[Watched](
    "letters",
    {
        "causes": asked_once(_causes, _asked, lambda regions, _: regions),
        "letters": asked_once(_letters, _asked, lambda both, watched: both[watched.acts]),
    },
    interval=INTERVAL,
)


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The page's regions as server-sent events."""

    def question(user: User) -> Watched | None:
        form = LettersFilter(request.GET, zone=zone_of(request))
        if not form.is_valid():
            return None
        return Watched(form.asked, acts_on_letters(user) and form.asked.state == "open")

    return await live_stream(request, letters_live, question)
