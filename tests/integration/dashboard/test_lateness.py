"""Alarms, pages and metrics say the same of whether a consumer is late, whatever state it is in."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import User
from contracts.money import Money
from dashboard import selectors
from dashboard.behind import all_behind
from dashboard.consumers.selectors import standings
from dashboard.measure import DatabaseSample
from dashboard.standing import lane_of
from dashboard.topics.standing import Reader
from outbox import clock, pausing
from outbox.alerts.checks import look
from outbox.alerts.options import Alerts
from outbox.lag import all_lags
from outbox.positions import Member, PartitionEnd, Position
from outbox.registry import get_consumer
from outbox.system_metrics import System
from payments.services import request_payment, validate_payment


@dataclass(frozen=True, slots=True)
class Case:
    """How orders stands, and what is to be said of it; `waits` is None where no instance has told."""

    late: bool | None
    flow: str
    consumers: str
    events: int = 0
    waits: float | None = 0.0
    runs: bool = True
    paused: bool = False
    kafka_away: bool = False
    unsent: float | None = None
    just_processed: float | None = None


CASES = {
    "well": Case(False, "caught up", "running"),
    "on its way": Case(False, "caught up", "running", events=3, waits=1.0),
    "late": Case(True, "standing still", "late", events=3, waits=60.0),
    "one was late": Case(False, "caught up", "running", just_processed=60.0),
    "paused, well": Case(False, "paused", "paused", paused=True),
    "paused, late": Case(True, "paused", "paused", events=3, waits=60.0, paused=True),
    "no instance, well": Case(False, "not running", "no instance", runs=False),
    "no instance, late": Case(True, "not running", "no instance", events=3, waits=60.0, runs=False),
    "not known": Case(None, "not known", "lag not known", events=3, waits=None),
    "not known, paused": Case(None, "paused", "paused", events=3, waits=None, paused=True),
    "not known, Kafka away": Case(
        None, "waits for Kafka", "waits for Kafka", events=3, waits=None, kafka_away=True
    ),
    "late, Kafka away": Case(
        True, "waits for Kafka", "waits for Kafka", events=3, waits=60.0, kafka_away=True
    ),
    "no relay for a moment": Case(False, "caught up", "running", unsent=1.0),
    "no relay": Case(True, "waits for the relay", "waits for the relay", unsent=40.0),
    "no relay, all else not known": Case(
        True, "waits for the relay", "waits for the relay", events=3, waits=None, unsent=40.0
    ),
    "late, and no relay": Case(True, "standing still", "late", events=3, waits=60.0, unsent=40.0),
}


def stands(case: Case, merchant: User) -> None:
    """As instances and the outbox would tell it."""
    now = clock.now()
    PartitionEnd.objects.create(topic="payments", partition=0, next_offset=9)
    Position.objects.create(
        consumer="orders",
        topic="payments",
        partition=0,
        reached=9 - case.events,
        clear_until=None if case.waits is None else now - timedelta(seconds=case.waits),
        reported_at=now,
        processed_at=None if case.just_processed is None else now,
        occurred_at=None if case.just_processed is None else now - timedelta(seconds=case.just_processed),
    )
    if case.runs:
        Member.objects.create(consumer="orders", name="host:7", partitions=[["payments", 0]])
    if case.paused:
        pausing.pause(consumer=get_consumer("orders"), by="anna", reason="a look")
    if case.unsent is not None:
        at = datetime.now(UTC) - timedelta(seconds=case.unsent)
        payment, _ = request_payment(
            merchant_id=merchant.id, customer_id="c-1", money=Money(1_250, "EUR"), at=at
        )
        validate_payment(payment_id=payment.id, merchant_id=merchant.id, at=at)


def flow() -> DatabaseSample:
    """What the Flow's probe finds of consumers."""
    now = clock.now()
    waiting, unsent = selectors.backlog()
    return DatabaseSample(
        at=now,
        written=None,
        waiting=waiting,
        oldest_waiting=None,
        refused=None,
        relay=None,
        processed=selectors.processed(now=now, since=now - timedelta(seconds=1)),
        aside={},
        behind=all_behind(now=now, unsent=unsent),
    )


def scraped() -> bool | None:
    """What the rule ConsumerLate finds in the metrics; None where it has no sample to compare."""
    told = {one.name: one.value for one in System().samples() if one.labels == ("orders",)}
    assert told["outbox_consumer_lag_known"] == ("outbox_consumer_lag_seconds" in told)
    if not told["outbox_consumer_lag_known"]:
        return None
    return told["outbox_consumer_lag_seconds"] > told["outbox_consumer_limit_seconds"]


@pytest.mark.parametrize("name", CASES)
def test_all_say_the_same_of_whether_it_is_late(name: str, first: User) -> None:
    case, orders = CASES[name], get_consumer("orders")
    stands(case, first)
    [lag] = [one for one in all_lags() if one.consumer == orders]
    [standing] = standings([orders], kafka=not case.kafka_away)
    lane = lane_of(orders, flow(), kafka_away=case.kafka_away)
    reader = Reader(orders, lag.partitions, lag.unpublished, case.kafka_away)
    found = look([lag], at=lag.at, options=Alerts(), using="default", kafka_is_away=case.kafka_away)
    alarmed = {one.subject for one in found if one.cause == "late"}
    assert lag.late is case.late
    assert (standing.late, standing.word) == (case.late, case.consumers)
    assert (lane.late, lane.word) == (case.late is True, case.flow)
    assert lane.delay_known is (case.late is not None)
    assert reader.wait.late is case.late
    assert ("orders" in alarmed) is (case.late is True)
    assert scraped() is case.late


def test_what_was_brought_from_the_past_makes_late_and_has_not_waited_for_the_relay(first: User) -> None:
    stands(replace(CASES["well"], unsent=86_400.0), first)
    assert lane_of(get_consumer("orders"), flow(), kafka_away=False).late
    assert clock.now() - selectors.backlog()[1]["payments"].waits_since < timedelta(hours=1)
