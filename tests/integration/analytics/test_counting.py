"""Every event of a payment adds to the slots in which it happened, once."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.handlers import consumer
from analytics.models import EVERYONE, Slot
from contracts.money import LARGEST_AMOUNT_MINOR
from contracts.payments import (
    PaymentEvent,
    PaymentRefunded,
    PaymentRejected,
    PaymentRequested,
    PaymentValidated,
)
from outbox.models import DeadLetter
from outbox.processor import Processor
from tests.integration.analytics.paid import MERCHANT, OTHER, Told, expected, record, stored, told

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVENTS: list[type[PaymentEvent]] = [PaymentRequested, PaymentValidated, PaymentRejected, PaymentRefunded]


def test_an_event_counts_in_every_width_for_its_merchant_and_for_everyone() -> None:
    Processor(consumer).run([record(told(at=NOON + timedelta(hours=2, minutes=34, seconds=56)))])
    assert {(slot.width, slot.merchant_id): slot.slot_start for slot in Slot.objects.all()} == {
        (width, merchant): start
        for merchant in (MERCHANT, EVERYONE)
        for width, start in {
            "1m": datetime(2026, 11, 24, 14, 34, tzinfo=UTC),
            "5m": datetime(2026, 11, 24, 14, 30, tzinfo=UTC),
            "15m": datetime(2026, 11, 24, 14, 30, tzinfo=UTC),
            "1h": datetime(2026, 11, 24, 14, tzinfo=UTC),
            "1d": datetime(2026, 11, 24, tzinfo=UTC),
        }.items()
    }
    slot = Slot.objects.get(width="1m", merchant_id=MERCHANT)
    assert (slot.count, int(slot.amount_minor), slot.currency, slot.status) == (1, 1250, "EUR", "validated")


@settings(max_examples=30, deadline=None)
@given(
    moments=st.lists(
        st.tuples(
            st.integers(0, 10_000_000),
            st.sampled_from(EVENTS),
            st.sampled_from(["EUR", "JPY"]),
            st.sampled_from([MERCHANT, OTHER]),
            st.integers(1, LARGEST_AMOUNT_MINOR),
        ),
        min_size=1,
        max_size=30,
    ),
    data=st.data(),
)
def test_slots_are_what_one_by_one_comes_to_however_events_arrive(
    moments: list[tuple[int, type[PaymentEvent], str, UUID, int]], data: st.DataObject
) -> None:
    """In any order, in batches of any size, any of them twice or thrice."""
    events = [
        told(
            kind, at=NOON - timedelta(seconds=ago), currency=currency, merchant_id=merchant, amount_minor=sum_
        )
        for ago, kind, currency, merchant, sum_ in moments
    ]
    records = [record(one, offset=offset) for offset, one in enumerate(events)]
    arrivals = data.draw(st.permutations(records)) + data.draw(st.lists(st.sampled_from(records)))
    processor = Processor(consumer)
    Slot.objects.all().delete()
    while arrivals:
        size = data.draw(st.integers(1, len(arrivals)))
        processor.run(arrivals[:size])
        arrivals = arrivals[size:]
    assert stored() == expected(events)


def test_sums_beyond_64_bits_are_exact() -> None:
    events = [told(at=NOON, amount_minor=LARGEST_AMOUNT_MINOR) for _ in range(10)]
    Slot.objects.create(
        generation=1,
        width="1d",
        merchant_id=EVERYONE,
        slot_start=datetime(2026, 11, 24, tzinfo=UTC),
        currency="EUR",
        status="validated",
        count=1,
        amount_minor=2**70 + 1,
    )
    Processor(consumer).run([record(one) for one in events])
    day = Slot.objects.get(width="1d", merchant_id=EVERYONE)
    assert day.amount_minor == 2**70 + 1 + 10 * LARGEST_AMOUNT_MINOR


def test_instances_share_slots_without_deadlock() -> None:
    """Their batches touch the same rows, each in another order of events."""
    events: list[Told] = [
        told(kind, at=NOON + timedelta(minutes=minute), currency=currency, merchant_id=merchant)
        for kind in EVENTS
        for minute in range(12)
        for currency in ("EUR", "USD", "JPY")
        for merchant in (MERCHANT, OTHER)
    ]
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def instance(number: int) -> None:
        mine = events[number::4]
        processor = Processor(consumer)
        try:
            for turn in range(8):
                # Every instance comes to the same slots, from another side each time.
                batch = mine[turn::8][:: 1 if (number + turn) % 2 else -1]
                together.wait(30)
                processor.run([record(one) for one in batch])
        except BaseException as error:  # noqa: BLE001  (looked at below)
            failures.append(error)
            together.abort()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=instance, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert stored() == expected(events)
    assert not DeadLetter.objects.exists()


def test_a_slot_that_fills_touches_no_index() -> None:
    """Its row is rewritten within its page (HOT) for as long as the slot lasts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'analytics_slot'")
        [(options,)] = cursor.fetchall()
        assert "fillfactor=50" in options
        before = _updates(cursor)
        for _ in range(20):
            Processor(consumer).run([record(told(at=NOON))])
        updated, hot = (now - then for now, then in zip(_updates(cursor), before, strict=True))
    assert updated >= 8 * 19
    assert hot >= updated * 0.9


def _updates(cursor: Any) -> tuple[int, int]:
    """How many rows of the table were ever updated, and how many of them without touching an index."""
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'analytics_slot'"
    )
    [(updated, hot)] = cursor.fetchall()
    return updated, hot
