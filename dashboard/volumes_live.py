"""Volumes as they grow: one reader of the totals per web process, however many watch.

Closed slots come from the topic `payment-volumes`. What they say is everyone's: a merchant's own, and days
and hours of zones that are not UTC's, are read from the table when a slot closes. The slot that is still open
is read from the table once a second, once for all who ask the same.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from contracts.analytics import SlotTotalled
from dashboard.sampler import Part
from dashboard.volumes import Question
from dashboard.volumes_changes import Change, TableProbe
from dashboard.volumes_topic import TotalsProbe
from dashboard.watched import Watched

INTERVAL = 1.0


@dataclass(frozen=True, eq=False)
class Told:
    """One published moment, the `number`th. Compared by identity, so that what is made of it can be kept.

    badge  how many alarms there are, as the navigation shows it; None while that is not known
    """

    at: datetime
    number: int
    changes: Mapping[Question, Change]
    away_since: datetime | None = None
    badge: str | None = None


class LiveVolumes(Watched[Question, Told]):
    """Publishes what changes every INTERVAL seconds while anyone watches."""

    name = "dashboard-volumes"

    def __init__(
        self, *, totals: Callable[[], TotalsProbe] = TotalsProbe, interval: float = INTERVAL
    ) -> None:
        super().__init__()
        self._make_totals = totals
        self._interval = interval
        self._table = TableProbe()

    async def watch(self, wanted: Question) -> AsyncGenerator[Told, None]:
        """Every moment from now on, of which each total is in one; what was told of late once more at first.

        Raises what went wrong in the reading.
        """
        # A page that has just been made is newer than the moment before it.
        before, last = self._latest, None
        async with aclosing(super().watch(wanted)) as moments:
            self._table.came.put(wanted)
            async for told in moments:
                if told is before:
                    continue
                if last is not None and told.number > last + 1:
                    # It was too slow for a moment, and what that moment told is told again.
                    self._table.came.put(wanted)
                last = told.number
                yield told

    async def _run(self) -> None:
        totals_probe, table_probe = self._make_totals(), TableProbe()
        self._table = table_probe
        for question in self._viewers:
            table_probe.came.put(question)
        totals, table = Part[list[SlotTotalled]]("totals"), Part[Mapping[Question, Change]]("slots")
        loop, number = asyncio.get_running_loop(), 0
        try:
            while True:
                due, now = loop.time() + self._interval, datetime.now(UTC)
                heard, looked = totals.reading.at, table.reading.at
                await totals.ask(totals_probe.measure, patience=self._interval)
                if totals.reading.at != heard:
                    for total in totals.reading.value or []:
                        table_probe.heard.put(total)
                look = partial(table_probe.measure, now=now, questions=frozenset(self._viewers))
                await table.ask(look, patience=self._interval)
                # What a table that is away said last was told when it said it.
                changes = table.reading.value if table.reading.at != looked else None
                away = [part for part in (totals.reading.away_since, table.reading.away_since) if part]
                number += 1
                self._publish(Told(now, number, changes or {}, min(away, default=None), table_probe.badge))
                await asyncio.sleep(due - loop.time())
        finally:
            totals.stop(totals_probe.close)
            table.stop(table_probe.close)


live_volumes = LiveVolumes()
