"""Writes of volumes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from analytics.models import EVERYONE
from analytics.slots import SLOTS, WIDTHS, floor


@dataclass(frozen=True, slots=True)
class Occurrence:
    """That a merchant's payment came to a status, with this amount, at that moment."""

    merchant_id: UUID
    currency: str
    status: str
    amount_minor: int
    at: datetime


# Rows are locked in the order of the primary key, here and wherever else several are: so no two transactions
# that share slots wait for each other. The order is the database's own, for its collation decides it.
_ADD = """
INSERT INTO analytics_slot AS slot
    (generation, width, merchant_id, slot_start, currency, status, count, amount_minor, dirty)
SELECT %s, added.*, added.merchant_id = %s AND added.width = ANY(%s)
FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[], %s::text[], %s::text[], %s::bigint[], %s::numeric[])
    AS added (width, merchant_id, slot_start, currency, status, count, amount_minor)
ORDER BY width, merchant_id, slot_start, currency, status
ON CONFLICT (generation, width, merchant_id, slot_start, currency, status) DO UPDATE
SET count = slot.count + EXCLUDED.count, amount_minor = slot.amount_minor + EXCLUDED.amount_minor,
    dirty = EXCLUDED.dirty
"""


def add_to_slots(*, occurrences: Iterable[Occurrence], generation: int) -> None:
    """Add these to the slots in which they happened: their merchants' and everyone's, in every width.

    One statement, whose rows are those of different slots: a thousand events of one minute are ten.
    Whoever calls sees to it that nothing is added twice.
    """
    counts: dict[tuple[str, UUID, datetime, str, str], int] = defaultdict(int)
    amounts: dict[tuple[str, UUID, datetime, str, str], int] = defaultdict(int)
    for one in occurrences:
        for name, width in WIDTHS.items():
            start = floor(one.at, width)
            for merchant_id in (one.merchant_id, EVERYONE):
                slot = (name, merchant_id, start, one.currency, one.status)
                counts[slot] += 1
                amounts[slot] += one.amount_minor
    if not counts:
        return
    columns = [list(column) for column in zip(*counts, strict=True)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            _ADD, [generation, EVERYONE, [*SLOTS], *columns, [*counts.values()], [*amounts.values()]]
        )
