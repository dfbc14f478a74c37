"""Writes of volumes."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import connection, transaction

import outbox
from analytics.models import CONSUMER, EVERYONE, PublishedTotal
from analytics.slots import SLOTS, WIDTHS, floor
from contracts.analytics import SlotName, SlotTotalled, StatusTotal
from outbox.generations import hold_live, live_generation, take_live

# How long after its end a slot is left alone: most of its last events have been counted by then.
GRACE = timedelta(seconds=3)

# What slots come to, by width, start and currency.
SlotKey = tuple[SlotName, datetime, str]
Totals = dict[SlotKey, tuple[StatusTotal, ...]]


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


# In the order of the index, so that a sweep reads no more than it takes. Everyone's id is written out: the
# planner must know at once that the index of dirty rows is enough.
_DUE = """
SELECT DISTINCT slot_start, width, currency FROM analytics_slot
WHERE dirty AND merchant_id = '00000000-0000-0000-0000-000000000000' AND generation = %s
    AND slot_start <= CASE width WHEN '1m' THEN %s WHEN '5m' THEN %s WHEN '1h' THEN %s ELSE %s END
ORDER BY slot_start, width, currency LIMIT %s
"""
_LOCK = """
SELECT width, slot_start, currency, status, count, amount_minor, dirty FROM analytics_slot
WHERE generation = %s AND merchant_id = %s
    AND (width, slot_start, currency) IN (SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::text[]))
ORDER BY width, merchant_id, slot_start, currency, status FOR UPDATE
"""
# Exactly the rows that were read: another status of the slot may have been counted since, and stays dirty.
_CLEAN = """
UPDATE analytics_slot AS slot SET dirty = false
FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[])
    AS seen (width, slot_start, currency, status)
WHERE slot.generation = %s AND slot.merchant_id = %s AND slot.width = seen.width
    AND slot.slot_start = seen.slot_start AND slot.currency = seen.currency AND slot.status = seen.status
"""


def close_slots(*, at: datetime, limit: int) -> int:
    """Publish the totals of up to `limit` slots that had ended GRACE before `at` and have changed since they
    were last looked at; return how many there were.

    A SlotTotalled says what all merchants together came to, for each currency by itself. Totals that are what
    was last published are not published again. One transaction; it may run beside itself and beside those who
    count, for all lock the rows of slots in one order.
    """
    with outbox.atomic():
        generation = hold_live(CONSUMER).number
        totals = _totals_of_changed(generation, _due(generation, at, limit))
        published = _published(totals)
        _publish(
            {slot: totals[slot] for slot in sorted(totals) if totals[slot] != published.get(slot)}, at=at
        )
    return len(totals)


def publish_emptied(*, slots: Collection[SlotKey], at: datetime) -> None:
    """Publish that nothing was paid in those of these slots that were published and are not there any more.

    A rebuild leaves such when rows were there that never should have been. In a transaction of the caller's;
    if there are any, whoever counts or closes is kept waiting until its end.
    """
    if _emptied(slots):
        take_live(CONSUMER, using=connection.alias)
        _publish(dict.fromkeys(_emptied(slots), ()), at=at)


_EMPTIED = """
SELECT told.width, told.slot_start, told.currency
FROM unnest(%s::text[], %s::timestamptz[], %s::text[]) AS told (width, slot_start, currency)
JOIN analytics_published_total AS published USING (width, slot_start, currency)
WHERE published.totals <> '[]' AND NOT EXISTS (
    SELECT FROM analytics_slot AS slot WHERE slot.generation = %s AND slot.merchant_id = %s
        AND slot.width = told.width AND slot.slot_start = told.slot_start AND slot.currency = told.currency
) ORDER BY 1, 2, 3
"""


def _emptied(slots: Collection[SlotKey]) -> list[SlotKey]:
    if not slots:
        return []
    columns = [list(column) for column in zip(*slots, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_EMPTIED, [*columns, live_generation(CONSUMER), EVERYONE])
        return [(_slot_name(width), start, currency) for width, start, currency in cursor.fetchall()]


def _due(generation: int, at: datetime, limit: int) -> list[SlotKey]:
    latest = {name: at - GRACE - width for name, width in WIDTHS.items()}
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [generation, *(latest[name] for name in ("1m", "5m", "1h", "1d")), limit])
        return [(width, start, currency) for start, width, currency in cursor.fetchall()]


def _totals_of_changed(generation: int, due: list[SlotKey]) -> Totals:
    """What these slots come to, locked, without those that another closer has just been through."""
    if not due:
        return {}
    columns = [list(column) for column in zip(*due, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [generation, EVERYONE, *columns])
        rows = cursor.fetchall()
        changed = [row[:4] for row in rows if row[6]]
        if changed:
            seen = [list(column) for column in zip(*changed, strict=True)]
            cursor.execute(_CLEAN, [*seen, generation, EVERYONE])
    slots = {row[:3] for row in changed}
    totals: dict[SlotKey, list[StatusTotal]] = defaultdict(list)
    for width, start, currency, status, count, amount_minor, _ in rows:
        if (width, start, currency) in slots:
            totals[width, start, currency].append(
                StatusTotal(status=status, count=count, amount_minor=int(amount_minor))
            )
    return {slot: tuple(found) for slot, found in totals.items()}


def _published(totals: Totals) -> Totals:
    """What was last published of these slots."""
    return {
        (_slot_name(row.width), row.slot_start, row.currency): msgspec.convert(
            row.totals, tuple[StatusTotal, ...]
        )
        for row in PublishedTotal.objects.filter(pk__in=[*totals])
    }


def _slot_name(width: str) -> SlotName:
    name: SlotName = msgspec.convert(width, SlotName)
    return name


# Sorted by the key, as whoever else writes several.
_NOTE_PUBLISHED = """
INSERT INTO analytics_published_total (width, slot_start, currency, totals, event_id, published_at)
SELECT told.*, %s FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::jsonb[], %s::uuid[])
    AS told (width, slot_start, currency, totals, event_id)
ORDER BY width, slot_start, currency
ON CONFLICT (width, slot_start, currency) DO UPDATE
SET totals = EXCLUDED.totals, event_id = EXCLUDED.event_id, published_at = EXCLUDED.published_at
"""


def _publish(totals: Totals, *, at: datetime) -> None:
    """Publish these totals, and note it in one statement."""
    if not totals:
        return
    told = [
        (*slot, msgspec.json.encode(these).decode(), _published_one(slot, these, at=at))
        for slot, these in totals.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(_NOTE_PUBLISHED, [at, *(list(column) for column in zip(*told, strict=True))])


def _published_one(slot: SlotKey, totals: tuple[StatusTotal, ...], *, at: datetime) -> UUID:
    width, start, currency = slot
    return outbox.publish(SlotTotalled(slot=width, slot_start=start, currency=currency, totals=totals), at=at)
