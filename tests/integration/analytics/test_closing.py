"""A slot's totals are published once it has ended, and again whenever a late event has changed them."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, connections

from analytics import services
from analytics.handlers import consumer
from analytics.models import CONSUMER, EVERYONE, PublishedTotal, Slot
from analytics.projection import SlotsOverTime
from analytics.services import GRACE, close_slots
from analytics.tasks import close_slots as task
from contracts.analytics import SlotTotalled, StatusTotal
from contracts.payments import PaymentRequested
from eventsite import settings as project
from outbox.generations import hold_live
from outbox.kafka import Record
from outbox.models import OutboxEvent
from outbox.processor import Processor
from tests.engine import Writer, until
from tests.integration.analytics.paid import OTHER, Told, record, told

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = NOON + timedelta(days=2)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    Slot.objects.all().delete()
    PublishedTotal.objects.all().delete()


def count(*records: Record) -> None:
    Processor(consumer).run(records)


def published() -> list[SlotTotalled]:
    """Every total that was published, in order."""
    events = OutboxEvent.objects.filter(type=SlotTotalled.type).order_by("position")
    return [
        msg
        for event in events
        if isinstance(msg := SlotTotalled.from_json(bytes(event.payload)), SlotTotalled)
    ]


def of_minutes() -> list[SlotTotalled]:
    return [total for total in published() if total.slot == "1m"]


def close(at: datetime, *, limit: int = 1_000) -> int:
    return close_slots(at=at, limit=limit)


def test_each_width_is_published_when_it_has_ended() -> None:
    count(record(told(at=NOON)))
    assert close(NOON + MINUTE + GRACE - timedelta(milliseconds=1)) == 0
    assert close(NOON + MINUTE + GRACE) == 1
    assert [total.slot for total in published()] == ["1m"]
    assert close(NOON + 5 * MINUTE + GRACE) == 1
    assert close(NOON + 60 * MINUTE + GRACE) == 1
    assert close(datetime(2026, 11, 25, tzinfo=UTC) + GRACE) == 1
    assert [total.slot for total in published()] == ["1m", "5m", "1h", "1d"]
    assert close(LATER) == 0


def test_totals_are_everyones_by_status_and_of_one_currency() -> None:
    count(
        record(told(at=NOON, amount_minor=100)),
        record(told(at=NOON + timedelta(seconds=59), amount_minor=20, merchant_id=OTHER)),
        record(told(PaymentRequested, at=NOON, amount_minor=3)),
        record(told(at=NOON, amount_minor=7, currency="JPY")),
    )
    assert close(NOON + MINUTE + GRACE) == 2
    euros, yen = published()
    assert (euros.slot, euros.slot_start, euros.currency) == ("1m", NOON, "EUR")
    assert euros.totals == (
        StatusTotal(status="pending", count=1, amount_minor=3),
        StatusTotal(status="validated", count=2, amount_minor=120),
    )
    assert yen.totals == (StatusTotal(status="validated", count=1, amount_minor=7),)
    event = OutboxEvent.objects.get(key="1m:2026-11-24T12:00Z:EUR")
    assert (event.owner, event.occurred_at) == (None, NOON + MINUTE + GRACE)
    total = PublishedTotal.objects.get(currency="EUR")
    assert (total.event_id, total.published_at) == (event.id, NOON + MINUTE + GRACE)


def test_a_late_event_has_its_slot_published_again() -> None:
    count(record(told(at=NOON)))
    close(LATER)
    first = published()
    count(record(told(at=NOON + timedelta(seconds=30))))
    close(LATER)
    again = published()[len(first) :]
    assert [total.slot for total in again] == [total.slot for total in first]
    assert {total.totals[0].count for total in again} == {2}
    assert PublishedTotal.objects.count() == 4


def test_totals_that_are_what_was_published_are_not_published_again() -> None:
    count(record(told(at=NOON)))
    close(LATER)
    Slot.objects.of(None).filter(width__in=["1m", "1d"]).update(dirty=True)
    assert close(LATER) == 2
    assert len(published()) == 4
    assert not Slot.objects.filter(dirty=True).exists()


def test_sums_beyond_64_bits_are_published_exactly() -> None:
    Slot.objects.create(
        generation=1,
        width="1m",
        merchant_id=EVERYONE,
        slot_start=NOON,
        currency="EUR",
        status="validated",
        count=3,
        amount_minor=10**37 + 1,
    )
    close(LATER)
    close(LATER)
    [total] = published()
    assert total.totals[0].amount_minor == 10**37 + 1
    Slot.objects.update(dirty=True)
    close(LATER)
    assert len(published()) == 1


def test_a_batch_is_bounded_and_begins_with_the_oldest() -> None:
    count(*[record(told(at=NOON + number * MINUTE)) for number in range(5)])
    assert close(NOON + 10 * MINUTE, limit=4) == 4
    assert [total.slot_start for total in of_minutes()] == [NOON + number * MINUTE for number in range(3)]
    assert close(NOON + 10 * MINUTE, limit=4) == 2


def test_what_is_counted_while_a_slot_is_closed_is_published_next() -> None:
    """A new status, whose row the closer cannot have seen: it stays to be looked at."""
    count(record(told(at=NOON)))
    with Writer() as counting:
        counting.begin()
        counting.call(lambda: count_one(told(PaymentRequested, at=NOON)))
        close(LATER)
        counting.end()
    close(LATER)
    first, second = of_minutes()
    assert [total.status for total in first.totals] == ["validated"]
    assert [total.status for total in second.totals] == ["pending", "validated"]


def test_a_closer_waits_for_those_who_count() -> None:
    count(record(told(at=NOON)))
    with Writer() as counting, Writer() as closing:
        counting.begin()
        counting.call(lambda: count_one(told(at=NOON)))
        closing.call(lambda: close(LATER), wait=False)
        counting.end()
        closing.call(lambda: None)
    assert [total.totals[0].count for total in of_minutes()][-1] == 2


def test_a_status_that_comes_while_a_closer_waits_stays_to_be_looked_at() -> None:
    """The closer has read which rows there are, and waits for one of them, as another is committed."""
    count(record(told(at=NOON)))
    with Writer() as counting, Writer() as closing:
        counting.begin()
        counting.call(lambda: count_one(told(at=NOON)))
        closing.call(lambda: close(LATER), wait=False)
        until(lambda: waiting_for_locks() == 1)
        count_one(told(PaymentRequested, at=NOON))
        counting.end()
        closing.call(lambda: None)
    close(LATER)
    assert [[(one.status, one.count) for one in total.totals] for total in of_minutes()] == [
        [("validated", 2)],
        [("pending", 1), ("validated", 2)],
    ]


def waiting_for_locks() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        [(waiting,)] = cursor.fetchall()
    return int(waiting)


def count_one(one: Told) -> None:
    """As a batch does, in the transaction under way."""
    event, at = one
    status = "pending" if isinstance(event, PaymentRequested) else "validated"
    services.add_to_slots(
        occurrences=[
            services.Occurrence(
                merchant_id=event.merchant_id,
                currency=event.currency,
                status=status,
                amount_minor=event.amount_minor,
                at=at,
            )
        ],
        generation=1,
    )


def test_many_closers_and_counters_publish_every_last_total_and_none_twice() -> None:
    events = [
        told(at=NOON + number % 20 * MINUTE, merchant_id=UUID(int=number % 3 + 1), currency=currency)
        for number in range(240)
        for currency in ("EUR", "USD")
    ]
    failures: list[BaseException] = []
    together = threading.Barrier(5)
    counted = threading.Event()

    def run(work: object) -> None:
        try:
            together.wait(30)
            work()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  (looked at below)
            failures.append(error)
        finally:
            connections.close_all()

    def counter(number: int) -> None:
        mine = events[number::2]
        for first in range(0, len(mine), 24):
            count(*[record(one) for one in mine[first : first + 24]])

    def closer() -> None:
        while not counted.is_set():
            close(LATER, limit=7)

    counters = [threading.Thread(target=run, args=(lambda n=n: counter(n),)) for n in range(2)]
    closers = [threading.Thread(target=run, args=(closer,)) for _ in range(3)]
    for thread in counters + closers:
        thread.start()
    for thread in counters:
        thread.join(60)
    counted.set()
    for thread in closers:
        thread.join(60)
    while close(LATER):
        pass
    assert failures == []
    last: dict[str, SlotTotalled] = {}
    for total in published():
        assert last.get(total.key()) != total, "the same totals were published twice in a row"
        last[total.key()] = total
    truth = {
        (slot.width, slot.slot_start, slot.currency): (slot.count, int(slot.amount_minor))
        for slot in Slot.objects.of(None).exclude(width="15m")
    }
    assert {
        (total.slot, total.slot_start, total.currency): (total.totals[0].count, total.totals[0].amount_minor)
        for total in last.values()
    } == truth
    assert sum(found for (width, _, _), (found, _) in truth.items() if width == "1d") == len(events)


def test_only_the_live_generation_is_closed() -> None:
    count(record(told(at=NOON)))
    Slot.objects.filter(width="1m").update(generation=2)
    assert close(LATER) == 3
    assert of_minutes() == []


def test_totals_of_slots_that_a_rebuild_has_emptied_are_taken_back() -> None:
    count(record(told(at=NOON)))
    close(LATER)
    Slot.objects.filter(width="1m").update(generation=2)
    slots = SlotsOverTime()
    assert slots.discard(generation=2, limit=10) == 2
    assert slots.discard(generation=2, limit=10) == 0
    assert [total.totals for total in of_minutes()][1:] == [()]


def test_totals_of_slots_that_are_there_are_not_taken_back_with_an_old_generations() -> None:
    count(record(told(at=NOON)))
    close(LATER)
    Slot.objects.bulk_create(Slot(**{**row, "generation": 2}) for row in Slot.objects.values())
    SlotsOverTime().discard(generation=2, limit=100)
    assert [len(total.totals) for total in of_minutes()] == [1]


def test_who_counts_while_totals_are_taken_back_is_not_overruled() -> None:
    """The slot is found empty, then counted in: the last total told must be the count."""
    count(record(told(at=NOON)))
    close(LATER)
    Slot.objects.filter(width="1m").update(generation=2)
    with Writer() as counting, Writer() as clearing:
        counting.begin()
        counting.call(lambda: hold_live(CONSUMER))
        counting.call(lambda: count_one(told(at=NOON)))
        clearing.call(lambda: SlotsOverTime().discard(generation=2, limit=100), wait=False)
        until(lambda: waiting_for_locks() == 1)
        counting.end()
        clearing.call(lambda: None)
    close(LATER)
    assert [len(total.totals) for total in of_minutes()][-1] == 1


def test_the_task_is_sent_often_and_expires_before_it_piles_up() -> None:
    entry = project.CELERY_BEAT_SCHEDULE["ended-slots"]
    assert entry["task"] == task.name
    schedule, options = entry["schedule"], entry["options"]
    assert isinstance(schedule, timedelta)
    assert isinstance(options, dict)
    assert options["expires"] <= schedule.total_seconds() <= 2


def test_the_task_closes_what_has_ended() -> None:
    count(record(told(at=datetime.now(UTC) - timedelta(minutes=2))))
    task()
    assert len(of_minutes()) == 1
