"""What may have changed in the answers to some questions, read and rendered in a thread of its own."""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import SimpleQueue
from typing import TypeVar

from django.db import connections
from django.template.loader import render_to_string

from analytics.slots import SLOTS_BY_DEFAULT, WIDTHS, Span
from contracts.analytics import SlotTotalled
from dashboard.alerts.count import alarm_badge
from dashboard.asking import one_look
from dashboard.volumes import (
    MOST_SLOTS,
    Question,
    Row,
    answered_by_totals,
    rows_in_page_order,
    rows_of,
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
        with one_look():
            self.badge = alarm_badge()
            looks = {question: self._look(question, now) for question in questions}
        for question, (told, still_open, _) in looks.items():
            self._open[question] = still_open
            for key in told:
                del self._due[question][key]
        return {question: change for question, (_, _, change) in looks.items()}

    def _look(self, question: Question, now: datetime) -> tuple[_Due, list[Row], Change]:
        """What is told of what is due, the rows of the open slot, and both as a change."""
        boundaries = _boundaries(question, now)
        begun = [start for start in boundaries if start <= now][-2:]
        latest = sorted(self._due[question], reverse=True)[:MOST_TOLD]
        told = {key: self._due[question][key] for key in latest}
        # One question to the table, from the first slot that changed to the one that is open.
        first = min([*(start for start, _ in told), begun[-1]])
        read = rows_of(
            question, Span(question.slot, first, now + timedelta.resolution, question.zone_info), now=now
        )
        still_open = [row for row in read if row.start == begun[-1]]
        rows = [] if still_open == self._open.get(question) else still_open
        closed = {start for start, _ in told if start != begun[-1]}
        if answered_by_totals(question, boundaries):
            before = [row for row in read if (row.start, row.currency) in told and row.start in closed]
            rows += _latest_of(before, rows_told(question, told.values()))
            whole = latest
        else:
            rows += [row for row in read if row.start in closed]
            whole = []
        rows = rows_in_page_order(rows)
        html = render_to_string("dashboard/parts/volume_rows.html", {"rows": rows, "slot": question.slot})
        return told, still_open, Change(rows, begun, whole, html)

    def close(self) -> None:
        """Close this thread's connection."""
        connections.close_all()


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
