"""The live tail of events: what comes in is read once for all who ask the same question."""

from typing import Any

from django.template.loader import render_to_string

from dashboard.asking import Turns, one_look
from dashboard.events.question import Question, address
from dashboard.events.search import LOOK_AT, Page, search
from dashboard.live import LivePage, Regions
from outbox.registry import all_consumers


def answer(question: Question) -> Regions:
    """What fits now."""
    with one_look():
        return regions_of(search(question), question)


def regions_of(page: Page, question: Question) -> Regions:
    """The page's live parts: the rows, and what is said below them."""
    return {"rows": rows_of(page), "told": told_of(page, question)}


def rows_of(page: Page) -> str:
    """The body of the table."""
    return _rendered("rows", {"page": page, "consumers": all_consumers()})


def told_of(page: Page, question: Question) -> str:
    """What is said below the table: that it is empty, or not all; and the pages beside it."""
    context = {
        "page": page,
        "anything": question == Question() and not page.newer,
        "looked_at": f"{LOOK_AT:,}",
        "newer": page.newer and address(question, after=page.newer),
        "older": page.older and address(question, before=page.older),
    }
    return _rendered("told", context)


def _rendered(name: str, context: dict[str, Any]) -> str:
    return render_to_string(f"dashboard/events/{name}.html", context)


live_events = LivePage[Question]("events", {"events": Turns(answer).read})
