"""A page that stays up to date: its regions are read and rendered once for all who watch the same.

A page asks a question (its filters, and whether the viewer may act), and each of its parts answers the
questions of those who watch with the HTML of its regions, by the id of their element. They are read in a
thread of its own, never twice at a time. Only what has changed is sent. A part that is too slow is told as
such, and keeps nothing else from being told.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts.models import User
from dashboard.alerts.count import alarm_badge
from dashboard.asking import Patience, TooSlow, Turns
from dashboard.operators import may_look
from dashboard.sampler import Part
from dashboard.stream import RETRY_MS, STREAM_LIFETIME, event_stream, message
from dashboard.watched import Watched
from outbox.stopping import call_when_server_stops

INTERVAL = 1.0

Q = TypeVar("Q", bound=Hashable)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
# HTML by the id of the element that it belongs into.
Regions = Mapping[str, str]
# Answers questions, some of them or all.
Read = Callable[[Collection[Q]], Mapping[Q, Regions | TooSlow]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A question's regions, and the parts that are not known, with since when: their regions are left out."""

    regions: Regions
    slow: Mapping[str, datetime]


NOTHING = Answer({}, {})


@dataclass(frozen=True, eq=False)
class Told(Generic[Q]):
    """One published moment. While the database is away `away_since` is set, and the answers are the last."""

    at: datetime
    answers: Mapping[Q, Answer]
    away_since: datetime | None = None


class LivePage(Watched[Q, Told[Q]]):
    """Publishes the regions of every question every `interval` seconds while anyone watches.

    `parts` are read one after the other, by their names, and then the navigation's badge. They may use the
    ORM: connections are closed when nobody watches any more. One whose statement was ended because it took
    too long is told as not known, and rests for a while. What it raises because the database is away is told
    as such; anything else ends the streams, and is logged with them.
    """

    def __init__(
        self,
        name: str,
        parts: Mapping[str, Read[Q]],
        *,
        interval: float = INTERVAL,
    ) -> None:
        super().__init__()
        self.name = f"dashboard-{name}"
        self._parts: Mapping[str, Read[Q]] = {**parts, "badge": _badge}
        self._patience = Patience[str]()
        self._interval = interval

    async def _run(self) -> None:
        part = Part[Mapping[Q, Answer]](self.name)
        loop = asyncio.get_running_loop()
        try:
            while True:
                due = loop.time() + self._interval
                await part.ask(partial(self.answers, frozenset(self._viewers)), patience=self._interval)
                if part.reading.at or part.reading.away_since:  # else nothing has been said yet
                    at = part.reading.at or datetime.now(UTC)
                    self._publish(Told(at, part.reading.value or {}, part.reading.away_since))
                await asyncio.sleep(due - loop.time())
        finally:
            part.stop(connections.close_all)

    def answers(self, questions: Collection[Q]) -> Mapping[Q, Answer]:
        """Each question's, from all parts. Raises OperationalError when the database is away."""
        regions: dict[Q, dict[str, str]] = {question: {} for question in questions}
        slow: dict[Q, dict[str, datetime]] = {question: {} for question in questions}
        try:
            for part, read in self._parts.items():
                found = self._patience.ask(part, partial(read, questions))
                answers = dict.fromkeys(questions, found) if isinstance(found, TooSlow) else found
                for question, answer in answers.items():
                    if isinstance(answer, TooSlow):
                        slow[question][part] = answer.since
                    else:
                        regions[question] |= answer
            return {question: Answer(regions[question], slow[question]) for question in questions}
        except Error:
            connections.close_all()  # one that broke would stay broken
            raise


def _badge(questions: Collection[Q]) -> Mapping[Q, Regions | TooSlow]:
    badge = alarm_badge()
    return {question: {"alarm-count": badge} for question in questions}


def asked_once(answer: Callable[[K], T], key: Callable[[Q], K], told: Callable[[T, Q], Regions]) -> Read[Q]:
    """A part that asks the database once for all questions that are the same to it, each in its turn.

    key   what is asked for a question
    told  what of the answer is told to it
    """
    turns = Turns(answer)

    def read(questions: Collection[Q]) -> Mapping[Q, Regions | TooSlow]:
        found = turns.read({key(question) for question in questions})
        answered = ((question, found[key(question)]) for question in questions if key(question) in found)
        return {
            question: one if isinstance(one, TooSlow) else told(one, question) for question, one in answered
        }

    return read


async def live_stream(
    request: HttpRequest, page: LivePage[Q], question: Callable[[User], Q | None]
) -> HttpResponseBase:
    """The page's regions as server-sent events, for those who may look.

    401 for whoever is not signed in, 403 for merchants, 400 for a question that means nothing (None).
    """
    user = await request.auser()
    status, asked = await sync_to_async(_admit)(user, question)
    # The stream may stay open for minutes; the connection that looked the user up must not.
    await sync_to_async(connections.close_all)()
    if asked is None:
        return HttpResponse(status=status)
    if request.method == "HEAD":
        return HttpResponse(content_type="text/event-stream")
    call_when_server_stops(page.close)
    return event_stream(_changes(page, asked))


def _admit(user: object, question: Callable[[User], Q | None]) -> tuple[int, Q | None]:
    if not isinstance(user, User):
        return 401, None
    return (400, question(user)) if may_look(user) else (403, None)


async def _changes(page: LivePage[Q], question: Q) -> AsyncIterator[str]:
    yield f"retry: {RETRY_MS}\n\n"
    sent: dict[str, str] = {}
    try:
        async with asyncio.timeout(STREAM_LIFETIME), aclosing(page.watch(question)) as moments:
            async for told in moments:
                answer = told.answers.get(question, NOTHING)
                fresh = {name: html for name, html in answer.regions.items() if sent.get(name) != html}
                sent |= fresh
                shown = {
                    "at": _exact(told.at),
                    "regions": fresh,
                    "away": told.away_since and _exact(told.away_since),
                    "slow": {part: _exact(since) for part, since in answer.slow.items()},
                }
                yield message("regions", shown)
    except TimeoutError:
        return


def _exact(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
