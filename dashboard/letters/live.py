"""The live regions of the page of dead letters: read once a while for all who watch with the same filters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from accounts.models import User
from dashboard.letters.filters import Asked, LettersFilter
from dashboard.letters.many import acts_on_letters
from dashboard.letters.selectors import Groups, Page, groups_of, page_of
from dashboard.live import LivePage, Regions, live_stream

INTERVAL = 2.0
STATEMENT_TIMEOUT_MS = 5_000


@dataclass(frozen=True, slots=True)
class Watched:
    """What a viewer watches: the first page of these letters, with boxes to tick for those who act."""

    asked: Asked
    acts: bool


def regions(groups: Groups, page: Page, watched: Watched) -> Regions:
    """The page's regions, by the id of their element."""
    given = {"groups": groups, "page": page, "asked": watched.asked, "acts": watched.acts}
    parts = {"group-rows": "group_rows", "letter-rows": "rows", "groups-said": "said", "no-letters": "none"}
    return {
        name: render_to_string(f"dashboard/letters/{template}.html", given)
        for name, template in parts.items()
    }


def read(questions: Collection[Watched]) -> Mapping[Watched, Regions]:
    """Every question's regions. No statement takes longer than STATEMENT_TIMEOUT_MS."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)])
        return {
            question: regions(groups_of(question.asked), page_of(question.asked), question)
            for question in questions
        }


letters_live = LivePage("letters", read, interval=INTERVAL)


@require_safe
async def stream(request: HttpRequest) -> HttpResponseBase:
    """The page's regions as server-sent events."""

    def question(user: User) -> Watched | None:
        form = LettersFilter(request.GET)
        if not form.is_valid():
            return None
        return Watched(form.asked, acts_on_letters(user) and form.asked.state == "open")

    return await live_stream(request, letters_live, question)
