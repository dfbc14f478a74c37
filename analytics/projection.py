"""How the slots are built again from events, beside those that are shown, and replace them."""

from datetime import datetime

from django.db import connection

import outbox
from analytics import services
from outbox import clock

# Of a day, few rows of many are read: PostgreSQL 18 skips from width to width and from merchant to merchant.
_WITHIN = """slot_start >= coalesce(%(start)s::timestamptz, '-infinity') AND slot_start < %(end)s"""
_TAKE_OVER = f"""
INSERT INTO analytics_slot
    (generation, width, merchant_id, slot_start, currency, status, count, amount_minor, dirty)
SELECT %(new)s, width, merchant_id, slot_start, currency, status, count, amount_minor, dirty
FROM analytics_slot WHERE generation = %(old)s AND {_WITHIN}
ORDER BY width, merchant_id, slot_start, currency, status
"""
_DISCARD = """
DELETE FROM analytics_slot WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM analytics_slot WHERE generation = %s LIMIT %s
)) RETURNING width, slot_start, currency, merchant_id = '00000000-0000-0000-0000-000000000000'
"""


class SlotsOverTime:
    """Slots of every generation lie in one table; all of a day of UTC lie on one side of its beginning."""

    def take_over(self, *, old: int, new: int, start: datetime | None, end: datetime) -> None:
        """Give the new generation the old one's slots of this time, in the place of its own.

        All slots of the new one are looked at once more by the next sweeps, and published where they differ.
        """
        span = {"old": old, "new": new, "start": start, "end": end}
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM analytics_slot WHERE generation = %(new)s AND {_WITHIN}", span)
            cursor.execute(_TAKE_OVER, span)

    def discard(self, *, generation: int, limit: int) -> int:
        """Remove up to `limit` rows of a generation; return how many they were.

        Where rows were that never should have been, it is published that nothing was paid.
        """
        with outbox.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_DISCARD, [generation, limit])
                rows = cursor.fetchall()
            services.publish_emptied(slots={row[:3] for row in rows if row[3]}, at=clock.now())
        return len(rows)
