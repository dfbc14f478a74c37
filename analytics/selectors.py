"""Reads of volumes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from analytics.models import EVERYONE
from analytics.slots import Span, stored_width

GENERATION = 1


@dataclass(frozen=True, slots=True)
class Volume:
    """One status of one currency in one slot, which begins at `slot_start` by a clock of the asked zone."""

    slot_start: datetime
    currency: str
    status: str
    count: int
    amount_minor: int


_STORED = """
SELECT width_bucket(slot_start, %(boundaries)s::timestamptz[]) AS slot, currency, status,
    sum(count)::bigint, sum(amount_minor)
FROM analytics_slot
WHERE generation = %(generation)s AND width = %(width)s AND merchant_id = %(merchant)s
    AND slot_start >= %(first)s AND slot_start < %(last)s
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def volumes(
    *, span: Span, merchant_id: UUID | None, currency: str | None = None, status: str | None = None
) -> list[Volume]:
    """The volumes of one merchant, or of all together for None, in order of slot, currency and status.

    Slots without any payment are left out. They are added up from the widest stored slots that the asked
    ones do not cut: for most zones an answer by day reads 24 rows for each of its own, for UTC one.
    """
    boundaries = span.boundaries()
    if len(boundaries) < 2:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _STORED,
            {
                "boundaries": boundaries,
                "generation": GENERATION,
                "width": stored_width(boundaries),
                "merchant": EVERYONE if merchant_id is None else merchant_id,
                "first": boundaries[0],
                "last": boundaries[-1],
                "currency": currency,
                "status": status,
            },
        )
        starts = [boundary.astimezone(span.zone) for boundary in boundaries]
        return [
            Volume(starts[slot - 1], code, state, count, int(amount))
            for slot, code, state, count, amount in cursor.fetchall()
        ]
