"""Reads of volumes."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection

from analytics.errors import TooManyRows
from analytics.models import CONSUMER, EVERYONE
from analytics.slots import QUARTER, STORED_IN_EVERY_ZONE, WIDTHS, Span, cut_hours, stored_width
from outbox.generations import FIRST

# What is read and written in a tenth of a second (docs/decisions/0011).
MOST_ROWS = 50_000


class Volume(msgspec.Struct, frozen=True):
    """One status of one currency in one slot, which begins at `slot_start` by a clock of the asked zone."""

    slot_start: datetime
    currency: str
    status: str
    count: int
    amount_minor: int


# In the same statement as the rows: those of a generation that has been replaced are being removed.
_LIVE = """(coalesce((SELECT generation FROM outbox_generation
        WHERE consumer = %(consumer)s AND state = 'live'), %(first_generation)s))"""
_WHERE = f"""
WHERE generation = {_LIVE} AND width = %(width)s AND merchant_id = asked.merchant
    AND slot_start >= %(first)s AND slot_start < %(last)s
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)"""
# Each merchant's slots lie beside each other: they are read one merchant after the other, in one statement.
_OF_EACH = """
SELECT asked.merchant, found.* FROM unnest(%(merchants)s::uuid[]) AS asked (merchant) CROSS JOIN LATERAL ({})
    AS found"""
# In the order of the primary key: nothing is sorted, nothing is added up.
_STORED = f"""
SELECT (extract(epoch FROM slot_start - %(first)s) / %(seconds)s)::integer, currency, status,
    count, amount_minor::text
FROM analytics_slot {_WHERE} ORDER BY slot_start, currency, status LIMIT %(limit)s"""
# Most of a day is whole hours, also where it begins between two of them: those alone are read in quarters.
_DAYS_BETWEEN_HOURS = f"""
SELECT width_bucket(slot_start, %(boundaries)s::timestamptz[]) - 1, currency, status,
    sum(count)::bigint, sum(amount_minor)::text
FROM (
    SELECT slot_start, currency, status, count, amount_minor FROM analytics_slot
    {_WHERE.replace("%(width)s", "'1h'")} AND slot_start <> ALL(%(cut)s::timestamptz[])
    UNION ALL
    SELECT slot_start, currency, status, count, amount_minor FROM analytics_slot
    {_WHERE.replace("%(width)s", "'15m'")} AND slot_start = ANY(%(quarters)s::timestamptz[])
) AS stored GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT %(limit)s"""
_ADDED_UP = f"""
SELECT width_bucket(slot_start, %(boundaries)s::timestamptz[]) - 1, currency, status,
    sum(count)::bigint, sum(amount_minor)::text
FROM analytics_slot {_WHERE} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT %(limit)s"""


def volumes(
    *, span: Span, merchant_id: UUID | None, currency: str | None = None, status: str | None = None
) -> list[Volume]:
    """The volumes of one merchant, or of all together for None, in order of slot, currency and status.

    Slots without any payment are left out. What is not stored as it is asked for is added up from the widest
    stored slots that the asked ones do not cut: a day of most zones from 24 hours, of the others from 23 and
    from the quarters of the two hours that it cuts. Raises TooManyRows beyond MOST_ROWS.
    """
    return volumes_of_each(span=span, merchant_ids=[merchant_id], currency=currency, status=status)[
        merchant_id
    ]


def volumes_of_each(
    *,
    span: Span,
    merchant_ids: Collection[UUID | None],
    currency: str | None = None,
    status: str | None = None,
) -> dict[UUID | None, list[Volume]]:
    """The same for several merchants, read in one statement; MOST_ROWS is what each may have."""
    if span.slot in STORED_IN_EVERY_ZONE:
        first, last = span.edges()
        width, boundaries = span.slot, []
    else:
        boundaries = span.boundaries()
        first, last = boundaries[0], boundaries[-1]
        width = stored_width(boundaries)
    cut = cut_hours(boundaries)
    with connection.cursor() as cursor:
        cursor.execute(
            _OF_EACH.format(_statement(span, width)),
            {
                "boundaries": boundaries,
                "cut": cut,
                "quarters": [hour + number * QUARTER for hour in cut for number in range(4)],
                "seconds": WIDTHS[width].total_seconds(),
                "consumer": CONSUMER,
                "first_generation": FIRST,
                "width": width,
                "merchants": [_stored_as(merchant_id) for merchant_id in merchant_ids],
                "first": first,
                "last": last,
                "currency": currency,
                "status": status,
                "limit": MOST_ROWS + 1,
            },
        )
        rows = cursor.fetchall()
    found: dict[UUID, list[Volume]] = {_stored_as(merchant_id): [] for merchant_id in merchant_ids}
    at, start = -1, first
    for merchant, slot, code, state, count, amount in rows:
        if slot != at:  # rows of one slot share its beginning
            at = slot
            start = (boundaries[slot] if boundaries else first + slot * WIDTHS[width]).astimezone(span.zone)
        found[merchant].append(Volume(start, code, state, count, int(amount)))
    if any(len(each) > MOST_ROWS for each in found.values()):
        raise TooManyRows(
            f"There are more than {MOST_ROWS:,} rows, and an answer has at most so many: ask for a shorter"
            " range, longer slots, or one currency and status."
        )
    return {merchant_id: found[_stored_as(merchant_id)] for merchant_id in merchant_ids}


def _stored_as(merchant_id: UUID | None) -> UUID:
    return EVERYONE if merchant_id is None else merchant_id


def _statement(span: Span, width: str) -> str:
    if width == span.slot:
        return _STORED
    return _DAYS_BETWEEN_HOURS if span.slot == "1d" and width == "15m" else _ADDED_UP
