"""The events as they come in: each question is read once for all who watch, and costs no more than a share.

A question whose answer took long is asked again after a while only; and where very many different ones are
watched, all of them together take half of one connection's time: each is then renewed more seldom, in turn.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.template.loader import render_to_string

from dashboard.events.question import Question, address
from dashboard.events.search import LOOK_AT, Page, search
from dashboard.live import INTERVAL, LivePage, Regions
from outbox.registry import all_consumers

# Of a second, for all questions together.
BUDGET = 0.5
# A question rests for so many times as long as its answer took, and at least until the next second.
REST = 9.0
# Nobody has watched for so long: what was told then is not told again.
FORGET = 5.0


class Tail:
    """Answers of the last moments, by question."""

    def __init__(
        self,
        answer: Callable[[Question], Page] = search,
        *,
        clock: Callable[[], float] = time.monotonic,
        budget: float = BUDGET,
    ) -> None:
        self._answer = answer
        self._clock = clock
        self._budget = budget
        self._told: dict[Question, Regions] = {}
        self._due: dict[Question, float] = {}
        self._last = 0.0

    def read(self, questions: Collection[Question]) -> Mapping[Question, Regions]:
        """The regions of each question, renewed where it is due; a new one is left out until its turn."""
        begun = self._clock()
        gone = self._due.keys() - questions if begun - self._last < FORGET else self._due.keys()
        for question in set(gone):
            self._due.pop(question)
            self._told.pop(question, None)
        for fresh in set(questions) - self._due.keys():
            self._due[fresh] = -INTERVAL
        self._last = begun
        for question in sorted(questions, key=self._due.__getitem__):
            asked = self._clock()
            if self._due[question] > asked or asked - begun >= self._budget:
                break
            self._told[question] = regions_of(self._answer(question), question)
            took = self._clock() - asked
            # A little less than the interval, or it would be missed by a moment at each second turn.
            self._due[question] = asked + max(INTERVAL * 0.9, took * (1 + REST))
        return dict(self._told)


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


live_events: LivePage[Question] = LivePage("events", Tail().read)
