"""Reads of volumes."""

from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection

from analytics.models import CONSUMER, EVERYONE
from analytics.slots import QUARTER, WIDTHS, Span, cut_hours, stored_width
from outbox.generations import FIRST


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
WHERE generation = {_LIVE} AND width = %(width)s AND merchant_id = %(merchant)s
    AND slot_start >= %(first)s AND slot_start < %(last)s
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)"""
# In the order of the primary key: nothing is sorted, nothing is added up.
_STORED = f"""
SELECT (extract(epoch FROM slot_start - %(first)s) / %(seconds)s)::integer, currency, status,
    count, amount_minor::text
FROM analytics_slot {_WHERE} ORDER BY slot_start, currency, status"""
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
) AS stored GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_ADDED_UP = f"""
SELECT width_bucket(slot_start, %(boundaries)s::timestamptz[]) - 1, currency, status,
    sum(count)::bigint, sum(amount_minor)::text
FROM analytics_slot {_WHERE} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""


def volumes(
    *, span: Span, merchant_id: UUID | None, currency: str | None = None, status: str | None = None
) -> list[Volume]:
    """The volumes of one merchant, or of all together for None, in order of slot, currency and status.

    Slots without any payment are left out. What is not stored as it is asked for is added up from the widest
    stored slots that the asked ones do not cut: a day of most zones from 24 hours, of the others from 23 and
    from the quarters of the two hours that it cuts.
    """
    boundaries = span.boundaries()
    if len(boundaries) < 2:
        return []
    width, cut = stored_width(boundaries), cut_hours(boundaries)
    with connection.cursor() as cursor:
        cursor.execute(
            _statement(span, width),
            {
                "boundaries": boundaries,
                "cut": cut,
                "quarters": [hour + number * QUARTER for hour in cut for number in range(4)],
                "seconds": WIDTHS[width].total_seconds(),
                "consumer": CONSUMER,
                "first_generation": FIRST,
                "width": width,
                "merchant": EVERYONE if merchant_id is None else merchant_id,
                "first": boundaries[0],
                "last": boundaries[-1],
                "currency": currency,
                "status": status,
            },
        )
        starts = [boundary.astimezone(span.zone) for boundary in boundaries]
        return [
            Volume(starts[slot], code, state, count, int(amount))
            for slot, code, state, count, amount in cursor.fetchall()
        ]


def _statement(span: Span, width: str) -> str:
    if width == span.slot:
        return _STORED
    return _DAYS_BETWEEN_HOURS if span.slot == "1d" and width == "15m" else _ADDED_UP
