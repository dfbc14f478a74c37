"""How the slots are built again from events, beside those that are shown, and replace them."""

from datetime import datetime

from django.db import connection

from analytics import services
from outbox import clock

_TAKE_OVER = """
INSERT INTO analytics_slot
    (generation, width, merchant_id, slot_start, currency, status, count, amount_minor, dirty)
SELECT %s, width, merchant_id, slot_start, currency, status, count, amount_minor, dirty
FROM analytics_slot WHERE generation = %s AND slot_start < %s
"""
_DISCARD = """
DELETE FROM analytics_slot WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM analytics_slot WHERE generation = %s LIMIT %s
))
"""


class SlotsOverTime:
    """Slots of every generation lie in one table; all of a day of UTC lie on one side of its beginning."""

    def take_over(self, *, old: int, new: int, before: datetime | None) -> None:
        """Give the new generation the old one's slots of the time that cannot be built again.

        All others are looked at once more by the next sweeps, and published where they differ.
        """
        if before is not None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "DELETE FROM analytics_slot WHERE generation = %s AND slot_start < %s", [new, before]
                )
                cursor.execute(_TAKE_OVER, [new, old, before])
        services.publish_emptied(generation=new, at=clock.now())

    def discard(self, *, generation: int, limit: int) -> int:
        """Remove up to `limit` rows of a generation; return how many they were."""
        with connection.cursor() as cursor:
            cursor.execute(_DISCARD, [generation, limit])
            return int(cursor.rowcount)
