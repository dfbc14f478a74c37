"""Volumes are built again from the topic's beginning, in a process that is killed, while payments go on."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.db.models import F

from analytics.handlers import consumer
from analytics.models import EVERYONE, PublishedTotal, Slot
from analytics.services import close_slots
from contracts.analytics import SlotTotalled
from contracts.payments import (
    PaymentEvent,
    PaymentRefunded,
    PaymentRejected,
    PaymentRequested,
    PaymentValidated,
)
from contracts.topics import PAYMENTS, TOPICS
from devstack.stack import Stack
from outbox import clock
from outbox.config import config
from outbox.consumer import ConsumerWorker
from outbox.generations import generations_of
from outbox.kafka import Cluster, Record
from outbox.models import DeadLetter, InboxEntry, OutboxEvent
from outbox.rebuild import Rebuild
from outbox.topology import apply
from tests.engine import Running, records_in, send, until
from tests.integration.analytics.paid import Told, expected, record, stored, told

pytestmark = pytest.mark.django_db(transaction=True)

PROJECT = Path(__file__).resolve().parents[3]
KINDS: dict[str, type[PaymentEvent]] = {
    kind.type: kind for kind in (PaymentRequested, PaymentValidated, PaymentRejected, PaymentRefunded)
}
LATELY = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture(autouse=True)
def _topics() -> Iterator[None]:
    apply(TOPICS, cluster=Cluster(config().kafka))
    yield
    Slot.objects.all().delete()
    PublishedTotal.objects.all().delete()


def payments(count: int, *, first: int = 0) -> list[Record]:
    """Events of as many payments, over some days and all partitions."""
    kinds = [*KINDS.values()]
    return [
        record(
            told(kinds[number % 4], at=LATELY - timedelta(minutes=17 * number), amount_minor=number),
            partition=number % PAYMENTS.partitions,
        )
        for number in range(first + 1, first + count + 1)
    ]


def truth() -> list[Told]:
    """What the whole topic tells, counted straight, each event once."""
    ends = Cluster(config().kafka).watermarks([("payments", number) for number in range(PAYMENTS.partitions)])
    by_id = {}
    for one in records_in(PAYMENTS, count=sum(ends.values())):
        headers = dict(one.headers)
        kind = KINDS.get((headers.get("ce_type") or b"").decode())
        if kind is not None:
            event = kind.from_json(one.value or b"")
            assert isinstance(event, PaymentEvent)
            at = datetime.fromisoformat((headers["ce_time"] or b"").decode())
            by_id[headers["ce_id"]] = (event, at)
    return [*by_id.values()]


def heard(generation: int) -> int:
    return InboxEntry.objects.filter(consumer=consumer.name, generation=generation).count()


def live() -> Running:
    return Running(lambda stop: ConsumerWorker(consumer, stop=stop))


def rebuilding(stack: Stack) -> "subprocess.Popen[str]":
    """`manage.py consumers rebuild analytics` on the tests' database, in a process of its own."""
    url = stack.environment()["DATABASE_URL"].rpartition("/")[0]
    environ = {
        **os.environ,
        **stack.environment(),
        "DATABASE_URL": f"{url}/{settings.DATABASES['default']['NAME']}",
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "consumers", "rebuild", "analytics"],
        cwd=PROJECT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def close_all() -> None:
    while close_slots(at=clock.now(), limit=500):
        pass


def rebuild() -> None:
    assert Rebuild(consumer, stop=threading.Event(), report=lambda _: None).run()


# Before the other has filled the topic, which a rebuild reads from its beginning.
def test_after_a_rebuild_only_totals_that_differ_are_published() -> None:
    send(*payments(50))
    counted = truth()
    rebuild()  # whatever was read of the topic before: all of it is in the second generation
    close_all()
    first = set(OutboxEvent.objects.filter(type=SlotTotalled.type).values_list("id", flat=True))
    broken = Slot.objects.of(None).filter(width="1d").order_by("slot_start", "currency").first()
    assert broken is not None
    Slot.objects.of(None).filter(width="1d", slot_start=broken.slot_start).update(
        count=F("count") + 1, dirty=True
    )
    Slot.objects.create(
        generation=2,
        width="1h",
        merchant_id=EVERYONE,
        slot_start=datetime(2020, 1, 1, tzinfo=UTC),
        currency="EUR",
        status="pending",
        count=1,
        amount_minor=1,
    )
    close_all()
    wrong = set(OutboxEvent.objects.filter(type=SlotTotalled.type).values_list("id", flat=True)) - first
    assert len(wrong) == 2
    rebuild()
    close_all()
    healed = OutboxEvent.objects.filter(type=SlotTotalled.type).exclude(id__in=first | wrong)
    told_again = [SlotTotalled.from_json(bytes(event.payload)) for event in healed.order_by("position")]
    assert {(one.slot, len(one.totals) > 0) for one in told_again if isinstance(one, SlotTotalled)} == {
        ("1h", False),
        ("1d", True),
    }
    assert len(told_again) == 2
    assert stored(generation=3) == expected(counted)


def test_killed_and_begun_again_while_payments_go_on_it_comes_to_a_straight_count(stack: Stack) -> None:
    send(*payments(3_000))
    done = threading.Event()
    more: list[Record] = []

    def traffic() -> None:
        while not done.wait(0.05):
            batch = payments(20, first=3_000 + len(more))
            send(*batch, batch[0])
            more.extend(batch)

    with live(), live():
        thread = threading.Thread(target=traffic)
        thread.start()
        until(lambda: heard(1) > 2_000, seconds=60)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE analytics_slot SET count = count + 7, amount_minor = 1")
        killed = rebuilding(stack)
        until(lambda: heard(2) > 500 or killed.poll() is not None, seconds=60)
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=30)
        assert generations_of(consumer) == [(1, "live"), (2, "building")]
        begun_again = rebuilding(stack)
        said, _ = begun_again.communicate(timeout=120)
        assert begun_again.returncode == 0, said
        assert "The new generation is live." in said
        done.set()
        thread.join(30)
        counted = truth()
        until(lambda: heard(2) == len(counted), seconds=60)
    assert generations_of(consumer) == [(2, "live")]
    assert stored(generation=2) == expected(counted)
    assert not Slot.objects.exclude(generation=2).exists()
    assert not DeadLetter.objects.exists()
