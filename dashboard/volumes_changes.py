"""What may have changed in the answers to some questions, read and rendered in a thread of its own."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from queue import SimpleQueue
from typing import TypeVar

from django.db import connections
from django.template.loader import render_to_string

from analytics.slots import SLOTS_BY_DEFAULT, WIDTHS, Span
from contracts.analytics import SlotTotalled
from dashboard.alerts.count import alarm_badge
from dashboard.asking import Patience, TooSlow, one_look
from dashboard.volumes import (
    MOST_SLOTS,
    Question,
    Row,
    answered_by_totals,
    rows_in_page_order,
    rows_of_each,
    rows_told,
)

# What closed while a page was made, or while its stream was broken, is told again for so long.
RECALL = timedelta(seconds=30)
# Of what closed slots say, so much in a moment, the latest first; the rest waits for the next moments.
MOST_TOLD = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """The rows that may be different from before, as the page shows them, and the last two slots begun.

    whole  slots, by their beginning and currency, of which `rows` has all rows there are: others are gone
    """

    rows: list[Row] = field(default_factory=list)
    slots: list[datetime] = field(default_factory=list)
    whole: list[tuple[datetime, str]] = field(default_factory=list)
    html: str = ""


# The latest total of a slot and currency that has yet to be told. Where the table is read instead, which is
# for all currencies at once, the slot alone counts.
_Due = dict[tuple[datetime, str], SlotTotalled]


@dataclass(frozen=True, slots=True)
class _Look:
    """What is to be told of a question's slots, which begin at `boundaries`, and the last two slots begun."""

    boundaries: list[datetime]
    begun: list[datetime]
    told: _Due

    @property
    def first(self) -> datetime:
        """The first slot that changed, or the one that is open."""
        return min([*(start for start, _ in self.told), self.begun[-1]])


class TableProbe:
    """Reads open slots, and those that have closed, on a connection of its thread.

    heard  totals to be told, in their order
    came   questions of viewers who have been told nothing yet, or missed something
    badge  how many alarms there were at the last look, as the navigation shows it
    """

    def __init__(self) -> None:
        self.heard: SimpleQueue[SlotTotalled] = SimpleQueue()
        self.came: SimpleQueue[Question] = SimpleQueue()
        self.badge: str | None = None
        self._patience = Patience[str]()
        self._recent: list[tuple[datetime, SlotTotalled]] = []
        self._new: set[Question] = set()
        self._due: dict[Question, _Due] = {}
        self._open: dict[Question, list[Row]] = {}

    def measure(self, *, now: datetime, questions: Collection[Question]) -> Mapping[Question, Change]:
        """What may have changed for each question. What fails to be read is due still."""
        heard = _drained(self.heard)
        self._recent = [(at, total) for at, total in self._recent if now - at < RECALL]
        self._recent += [(now, total) for total in heard]
        self._new.update(_drained(self.came))
        for gone in self._due.keys() - set(questions):
            del self._due[gone]
            self._open.pop(gone, None)
        for question in questions:
            boundaries = _boundaries(question, now)
            if question in self._new:
                self._open.pop(question, None)
            totals = [total for _, total in self._recent] if question in self._new else heard
            self._due.setdefault(question, {}).update(_due(question, boundaries, totals))
        self._new -= set(questions)
        looks = {question: self._looked(question, now) for question in questions}
        with one_look():
            read = _read(looks, now)
        changes = {question: self._change(question, look, read[question]) for question, look in looks.items()}
        for question, look in looks.items():
            self._open[question] = _open_rows(look, read[question])
            for key in look.told:
                del self._due[question][key]
        if any(question.merchant_id is None for question in questions):
            badge = self._patience.ask("how many alarms there are", alarm_badge)
            self.badge = None if isinstance(badge, TooSlow) else badge
        return changes

    def _looked(self, question: Question, now: datetime) -> _Look:
        boundaries = _boundaries(question, now)
        begun = [start for start in boundaries if start <= now][-2:]
        latest = sorted(self._due[question], reverse=True)[:MOST_TOLD]
        return _Look(boundaries, begun, {key: self._due[question][key] for key in latest})

    def _change(self, question: Question, look: _Look, read: list[Row]) -> Change:
        """What is told of what is due, and the rows of the open slot where they are others than before."""
        told, open_rows = look.told, _open_rows(look, read)
        rows = [] if open_rows == self._open.get(question) else open_rows
        closed = {start for start, _ in told if start != look.begun[-1]}
        if answered_by_totals(question, look.boundaries):
            before = [row for row in read if (row.start, row.currency) in told and row.start in closed]
            rows = rows + _latest_of(before, rows_told(question, told.values()))
            whole = list(told)
        else:
            rows = rows + [row for row in read if row.start in closed]
            whole = []
        rows = rows_in_page_order(rows)
        html = render_to_string("dashboard/parts/volume_rows.html", {"rows": rows, "slot": question.slot})
        return Change(rows, look.begun, whole, html)

    def close(self) -> None:
        """Close this thread's connection."""
        connections.close_all()


def _read(looks: Mapping[Question, _Look], now: datetime) -> dict[Question, list[Row]]:
    """The rows of each question since its first slot, or earlier. Those that differ by merchant alone, or by
    how far back their pages begin, are asked of the table together.
    """
    alike: dict[Question, list[Question]] = defaultdict(list)
    for question in looks:
        alike[replace(question, merchant_id=None, since=None)].append(question)
    found = {}
    for common, questions in alike.items():
        first = min(looks[question].first for question in questions)
        span = Span(common.slot, first, now + timedelta.resolution, common.zone_info)
        rows = rows_of_each(common, {question.merchant_id for question in questions}, span, now=now)
        found.update({question: rows[question.merchant_id] for question in questions})
    return found


def _open_rows(look: _Look, read: list[Row]) -> list[Row]:
    return [row for row in read if row.start == look.begun[-1]]


def _drained(queue: SimpleQueue[T]) -> list[T]:
    return [queue.get() for _ in range(queue.qsize())]


def _boundaries(question: Question, now: datetime) -> list[datetime]:
    """Where the slots of the page begin, and where the open one ends."""
    width = WIDTHS[question.slot]
    first = question.since or now - SLOTS_BY_DEFAULT * width
    # Of the last three slots at least the last two have begun, also where a day lasts an hour longer.
    first = min(max(first, now - MOST_SLOTS * width), now - 3 * width)
    return Span(question.slot, first, now + timedelta.resolution, question.zone_info).boundaries()


def _due(question: Question, boundaries: list[datetime], totals: list[SlotTotalled]) -> _Due:
    """The totals that say something of the page's slots, by slot and currency: the last of each."""
    if answered_by_totals(question, boundaries):
        known = set(boundaries[:-1])
        return {
            (total.slot_start, total.currency): total
            for total in totals
            if total.slot == question.slot
            and total.slot_start in known
            and question.currency in ("", total.currency)
        }
    due: _Due = {}
    for total in totals:
        # A total names no merchant and no zone: it says that the slot around it has changed.
        place = bisect_right(boundaries, total.slot_start) - 1
        if total.slot == "1m" and 0 <= place < len(boundaries) - 1:
            due[boundaries[place], ""] = total
    return due


def _latest_of(read: list[Row], told: list[Row]) -> list[Row]:
    """Of the table and the totals what is newer, row by row: payments are counted, never uncounted."""
    latest = {(row.start, row.currency, row.status): row for row in told}
    for row in read:
        key = (row.start, row.currency, row.status)
        if key not in latest or row.count > latest[key].count:
            latest[key] = row
    return list(latest.values())
