"""Payment volumes as the page shows them: rows of a table, from which its charts are drawn too."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

from analytics.models import STATUSES
from analytics.selectors import volumes_of_each
from analytics.slots import Span, stored_width, zone_named
from contracts.analytics import SlotTotalled
from contracts.money import minor_to_text

# Beyond these a page would be slow and its bars too thin to see; CSV has no such limit.
MOST_SLOTS = 400


@dataclass(frozen=True, slots=True)
class Question:
    """Which volumes a page shows. Questions that are equal are asked of the database once.

    merchant_id  one merchant's; everyone's for None
    zone         by whose clock slots begin
    since        the first moment of a page that was asked for one; others move on with the clock
    """

    slot: str
    zone: str
    merchant_id: UUID | None
    currency: str = ""
    status: str = ""
    since: datetime | None = None

    @property
    def zone_info(self) -> ZoneInfo:
        """The zone itself."""
        return zone_named(self.zone)


@dataclass(frozen=True, slots=True)
class Row:
    """One status of one currency in one slot; `open` while the slot has yet to end."""

    start: datetime
    currency: str
    status: str
    count: int
    amount_minor: int
    open: bool = False

    @property
    def amount(self) -> str:
        """Exact, with the currency's decimals."""
        return minor_to_text(self.amount_minor, self.currency)

    @property
    def epoch(self) -> int:
        """The slot's beginning in seconds, which is the same in all zones."""
        return int(self.start.timestamp())


def rows_of(question: Question, span: Span, *, now: datetime) -> list[Row]:
    """The table's answer for these slots, the oldest first."""
    merchant = question.merchant_id
    return rows_of_each(question, [merchant], span, now=now)[merchant]


def rows_of_each(
    question: Question, merchant_ids: Collection[UUID | None], span: Span, *, now: datetime
) -> dict[UUID | None, list[Row]]:
    """The same for each of these merchants instead of the question's own, read once."""
    found = volumes_of_each(
        span=span,
        merchant_ids=merchant_ids,
        currency=question.currency or None,
        status=question.status or None,
    )
    slots = pairwise(span.boundaries())
    still_open = next((start for start, end in slots if start <= now < end), None)
    return {
        merchant_id: [
            Row(
                volume.slot_start,
                volume.currency,
                volume.status,
                volume.count,
                volume.amount_minor,
                open=volume.slot_start == still_open,
            )
            for volume in its
        ]
        for merchant_id, its in found.items()
    }


def rows_told(question: Question, totals: Iterable[SlotTotalled]) -> list[Row]:
    """What the totals of closed slots answer to this question: of a slot that was told again, the last.

    They are everyone's, in slots of UTC.
    """
    latest = {
        (total.slot_start, total.currency): total
        for total in totals
        if total.slot == question.slot and question.currency in ("", total.currency)
    }
    return [
        Row(start.astimezone(question.zone_info), currency, each.status, each.count, each.amount_minor)
        for (start, currency), total in latest.items()
        for each in total.totals
        if question.status in ("", each.status)
    ]


def answered_by_totals(question: Question, boundaries: Sequence[datetime]) -> bool:
    """Whether totals of everyone's slots in UTC are what is asked for, or only say that it has changed."""
    return question.merchant_id is None and stored_width(list(boundaries)) == question.slot


def rows_in_page_order(rows: list[Row]) -> list[Row]:
    """As the table shows them: the latest slot first."""
    return sorted(rows, key=lambda row: (-row.epoch, row.currency, STATUSES.index(row.status)))
