"""Volumes as they grow: one reader of the totals per web process, however many watch.

Closed slots come from the topic `payment-volumes`. What they say is everyone's: a merchant's own, and days
and hours of zones that are not UTC's, are read from the table when a slot closes. The slot that is still open
is read from the table once a second, once for all who ask the same.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from django.db import connections

from analytics.slots import WIDTHS, Span
from contracts.analytics import SlotTotalled
from contracts.money import DECIMALS
from contracts.topics import PAYMENT_VOLUMES
from dashboard.sampler import Part
from dashboard.volumes import Question, Row, answered_by_totals, rows_of, rows_told
from dashboard.watched import Watched
from outbox.config import config
from outbox.errors import ContractViolation
from outbox.kafka import Record, TailReader

INTERVAL = 1.0
MOST_RECORDS = 2_000
# What closed while a page was made, or while its stream was broken, is told again for so long.
RECALL = timedelta(seconds=30)
LAST_TOTALS = 64
# Of slots that are read again one by one, so many in a moment.
MOST_CHANGED = 20


@dataclass(frozen=True, slots=True)
class Change:
    """The rows that may be different from before, and the last two slots that have begun.

    whole  slots, by their beginning and currency, of which `rows` has all rows there are: others are gone
    """

    rows: list[Row] = field(default_factory=list)
    slots: list[datetime] = field(default_factory=list)
    whole: list[tuple[datetime, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Told:
    """One published moment. Compared by identity, so that what is made of it can be kept for all viewers."""

    at: datetime
    changes: Mapping[Question, Change]
    away_since: datetime | None = None


class TotalsProbe:
    """Reads what was appended to the topic since the last look."""

    topics: tuple[str, ...] = (PAYMENT_VOLUMES.name,)

    def __init__(self) -> None:
        self._reader: TailReader | None = None

    def measure(self) -> list[SlotTotalled]:
        """The totals in their order. Raises BrokerError when Kafka does not answer."""
        if self._reader is None:
            self._reader = TailReader(config().kafka, topics=self.topics, last=LAST_TOTALS)
        records = self._reader.poll(limit=MOST_RECORDS, timeout=INTERVAL / 2)
        return [total for total in map(_total, records) if total is not None]

    def close(self) -> None:
        """Let go of the reader."""
        if self._reader is not None:
            self._reader.close()


def _total(record: Record) -> SlotTotalled | None:
    """What a record says; None for another type, and for what nobody here could have written."""
    if dict(record.headers).get("ce_type") != SlotTotalled.type.encode() or record.value is None:
        return None
    try:
        total = SlotTotalled.from_json(record.value)
    except ContractViolation:
        return None
    known = isinstance(total, SlotTotalled) and total.slot_start.tzinfo and total.currency in DECIMALS
    return total if isinstance(total, SlotTotalled) and known else None


class TableProbe:
    """Reads open slots, and those that have closed, on a connection of its thread."""

    def measure(
        self, *, now: datetime, questions: Collection[Question], totals: list[SlotTotalled]
    ) -> dict[Question, Change]:
        """What may have changed for each question."""
        return {question: self._look(question, now, totals) for question in questions}

    def _look(self, question: Question, now: datetime, totals: list[SlotTotalled]) -> Change:
        recent = Span(
            question.slot, now - 3 * WIDTHS[question.slot], now + timedelta.resolution, question.zone_info
        )
        boundaries = recent.boundaries()
        begun = [start for start in boundaries if start <= now][-2:]
        rows: list[Row] = []
        whole: list[tuple[datetime, str]] = []
        if answered_by_totals(question, boundaries):
            rows = rows_told(question, totals)
            whole = [(each.slot_start, each.currency) for each in totals if each.slot == question.slot]
            changed = {begun[-1]}
        else:
            # A total names no merchant and no zone: it says that the slot around it has changed.
            around = {_slot_around(question, total.slot_start) for total in totals if total.slot == "1m"}
            changed = {*sorted(around)[-MOST_CHANGED:], begun[-1]}
        for start in changed:
            slot = Span(question.slot, start, start + timedelta.resolution, question.zone_info)
            rows += rows_of(question, slot, now=now)
        return Change(rows, begun, whole)

    def close(self) -> None:
        """Close this thread's connection."""
        connections.close_all()


def _slot_around(question: Question, moment: datetime) -> datetime:
    """The beginning of the slot that a moment lies in. A day may last an hour longer than a day."""
    width = WIDTHS[question.slot]
    around = Span(question.slot, moment - 2 * width, moment + timedelta.resolution, question.zone_info)
    return [start for start in around.boundaries() if start <= moment][-1]


class LiveVolumes(Watched[Question, Told]):
    """Publishes what changes every INTERVAL seconds while anyone watches."""

    name = "dashboard-volumes"

    def __init__(
        self, *, totals: Callable[[], TotalsProbe] = TotalsProbe, interval: float = INTERVAL
    ) -> None:
        super().__init__()
        self._make_totals = totals
        self._interval = interval

    async def _run(self) -> None:
        totals_probe, table_probe = self._make_totals(), TableProbe()
        totals, table = Part[list[SlotTotalled]]("totals"), Part[dict[Question, Change]]("slots")
        loop = asyncio.get_running_loop()
        recent: list[tuple[datetime, SlotTotalled]] = []
        try:
            while True:
                due, now, before = loop.time() + self._interval, datetime.now(UTC), totals.reading
                await totals.ask(totals_probe.measure, patience=self._interval)
                if totals.reading is not before and not totals.reading.away_since:
                    recent += [(now, total) for total in totals.reading.value or []]
                recent = [(read_at, total) for read_at, total in recent if now - read_at < RECALL]
                look = partial(
                    table_probe.measure,
                    now=now,
                    questions=frozenset(self._viewers),
                    totals=[total for _, total in recent],
                )
                await table.ask(look, patience=self._interval)
                away = [since for since in (totals.reading.away_since, table.reading.away_since) if since]
                self._publish(Told(now, table.reading.value or {}, min(away, default=None)))
                await asyncio.sleep(due - loop.time())
        finally:
            totals.stop(totals_probe.close)
            table.stop(table_probe.close)


live_volumes = LiveVolumes()
