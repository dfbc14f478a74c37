"""A page that stays up to date: its regions are read and rendered once for all who watch the same.

A page asks a question (its filters, and whether the viewer may act), and `read` answers each question of
those who watch with the HTML of the page's regions, by the id of their element. It runs in a thread of its
own, never twice at a time. Only what has changed is sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from accounts.models import User
from dashboard.operators import may_look
from dashboard.sampler import Part
from dashboard.stream import RETRY_MS, STREAM_LIFETIME, event_stream, message
from dashboard.watched import Watched
from outbox.recovery import Family, family_of
from outbox.stopping import call_when_server_stops

INTERVAL = 1.0

Q = TypeVar("Q", bound=Hashable)
# HTML by the id of the element that it belongs into.
Regions = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Told(Generic[Q]):
    """One published moment. While the reading fails `away_since` is set, and the regions are the last.

    slow_since  since when the database takes too long for some questions, and others are answered
    """

    at: datetime
    regions: Mapping[Q, Regions]
    away_since: datetime | None = None
    slow_since: Mapping[Q, datetime] = field(default_factory=dict)

    def not_told_since(self, question: Q) -> datetime | None:
        """Since when this question has had no answer; None when it has."""
        return self.away_since or self.slow_since.get(question)


class LivePage(Watched[Q, Told[Q]]):
    """Publishes the regions of every question every `interval` seconds while anyone watches.

    `read` is given the questions. It may use the ORM: its connections are closed when nobody watches any
    more. What it raises because the database is away or overloaded is told as such; anything else ends the
    streams, and is logged with them. A question that takes the database too long is asked apart from then on:
    it holds up no other.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[Collection[Q]], Mapping[Q, Regions]],
        *,
        interval: float = INTERVAL,
    ) -> None:
        super().__init__()
        self.name = f"dashboard-{name}"
        self._read = read
        self._interval = interval
        self._slow: dict[Q, datetime] = {}

    async def _run(self) -> None:
        swift, slow = Part[Mapping[Q, Regions]](self.name), Part[Mapping[Q, Regions]](f"{self.name}-slow")
        self._slow.clear()
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, asked = loop.time() + self._interval, frozenset(self._viewers)
                apart = dict(self._slow).keys() & asked  # a copy: the threads may change it
                reading = [swift.ask(partial(self._answers, asked - apart), patience=self._interval)]
                if apart:
                    look = partial(self._answers_apart, apart)
                    reading.append(slow.ask(look, patience=self._interval))
                await asyncio.gather(*reading)
                regions = {**(slow.reading.value or {}), **(swift.reading.value or {})}
                away, late = swift.reading.away_since, dict(self._slow)
                self._publish(Told(datetime.now(UTC), regions, away, late))
                await asyncio.sleep(due - loop.time())
        finally:
            swift.stop(connections.close_all)
            slow.stop(connections.close_all)

    def _answers(self, questions: Collection[Q]) -> Mapping[Q, Regions]:
        try:
            return self._read(questions) if questions else {}
        except Error as error:
            connections.close_all()  # one that broke would stay broken
            if family_of(error) is not Family.CONTENTION:
                raise
        answers = self._one_by_one(questions) if len(questions) > 1 else {}
        self._slow.update(dict.fromkeys(set(questions) - answers.keys(), datetime.now(UTC)))
        return answers

    def _answers_apart(self, questions: Collection[Q]) -> Mapping[Q, Regions]:
        """Those that have been slow: each that is answered now is asked with the others again."""
        answers = self._one_by_one(questions)
        for question in answers:
            self._slow.pop(question, None)
        return answers

    def _one_by_one(self, questions: Collection[Q]) -> dict[Q, Regions]:
        answers: dict[Q, Regions] = {}
        for question in questions:
            try:
                answers |= self._read({question})
            except Error as error:
                connections.close_all()
                if family_of(error) is not Family.CONTENTION:
                    raise
        return answers


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
                regions = told.regions.get(question, {})
                fresh = {name: html for name, html in regions.items() if sent.get(name) != html}
                sent |= fresh
                since = told.not_told_since(question)
                away = since and since.isoformat(timespec="milliseconds")
                at = told.at.isoformat(timespec="milliseconds")
                slow = told.away_since is None and since is not None
                yield message("regions", {"at": at, "regions": fresh, "away": away, "slow": slow})
    except TimeoutError:
        return
