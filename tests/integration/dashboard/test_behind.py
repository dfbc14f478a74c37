"""The flow's lag is that of outbox/lag.py, whatever state a consumer is in."""

from datetime import datetime, timedelta

import pytest

from accounts.models import User
from dashboard.behind import all_behind
from dashboard.selectors import backlog
from outbox import clock, pausing
from outbox.alerts.alarms import Alarm
from outbox.lag import all_lags
from outbox.lateness import oldest_age
from outbox.models import OutboxEvent, Publication, TopicRecord
from outbox.positions import AlarmCause, Member, PartitionEnd, Position
from outbox.registry import all_consumers, get_consumer
from tests.integration.dashboard.conftest import Pay

SECOND = timedelta(seconds=1)


def stands(name: str, *, reached: int, clear: timedelta | None, told: timedelta = SECOND) -> None:
    """Say how far a consumer is in the first partition of payments, as its instance would have."""
    now = clock.now()
    Position.objects.create(
        consumer=name,
        topic="payments",
        partition=0,
        reached=reached,
        clear_until=None if clear is None else now - clear,
        reported_at=now - told,
    )


def there(name: str, *, seen: timedelta = SECOND) -> None:
    Member.objects.create(
        consumer=name, name="host:7", partitions=[["payments", 0]], seen_at=clock.now() - seen
    )


def about(seconds: float | None) -> object:
    return None if seconds is None else pytest.approx(seconds, abs=1)


def compared() -> datetime:
    """Hold what the flow says against what lag says of every consumer; both of one moment."""
    now = clock.now()
    _, unsent = backlog()
    told = all_behind(now=now, unsent=unsent)
    lags = {lag.consumer.name: lag for lag in all_lags()}
    assert set(told) == set(lags)
    for name, lag in lags.items():
        one = told[name]
        assert (one.events, one.members) == (lag.events, len(lag.members)), name
        assert one.alarms == {alarm.cause for alarm in lag.alarms}, name
        limit = lag.sync_delay_limit
        ages = [part.seconds for part in lag.partitions] or [None]
        assert one.seconds == about(oldest_age(ages, limit=limit)), name
        assert one.wait(limit=limit).seconds == about(lag.seconds), name
        assert one.pause == pausing.pause_of(lag.consumer), name
    return now


@pytest.fixture
def ends(db: None) -> None:
    for partition, end in ((0, 9), (1, 4)):
        PartitionEnd.objects.create(topic="payments", partition=partition, next_offset=end)
    PartitionEnd.objects.create(topic="orders", partition=0, next_offset=2)


def test_of_consumers_that_run_are_level_or_never_said_a_word(ends: None) -> None:
    stands("orders", reached=5, clear=20 * SECOND)
    there("orders")
    stands("analytics", reached=9, clear=SECOND)
    there("analytics")
    Alarm.objects.create(subject="analytics", cause=AlarmCause.LATE)
    stands("loyalty", reached=0, clear=None)
    there("loyalty", seen=60 * SECOND)
    compared()
    told = all_behind(now=clock.now(), unsent={})
    # The other partition, of which nothing was ever said, counts whole.
    assert (told["orders"].events, told["orders"].members) == (8, 1)
    # Beyond the limit, whatever the age of what is left in the other.
    assert told["orders"].seconds is not None
    assert 19 < told["orders"].seconds < 25
    assert (told["analytics"].events, told["analytics"].seconds) == (4, None)
    assert (told["loyalty"].members, told["loyalty"].seconds) == (0, None)
    assert told["payments"].events == 2


def test_of_one_that_is_away_for_long_the_oldest_event_that_came_since_counts(
    ends: None, first: User, pay: Pay
) -> None:
    pay(first)
    for offset, event in enumerate(
        OutboxEvent.objects.filter(topic="payments").order_by("position"), start=7
    ):
        Publication.objects.create(event_id=event.id, partition=0, offset=offset, published_at=clock.now())
    stands("loyalty", reached=7, clear=60 * SECOND, told=60 * SECOND)
    compared()
    told = all_behind(now=clock.now(), unsent={})
    # Not a minute: nothing came meanwhile.
    assert told["loyalty"].events == 6
    assert told["loyalty"].seconds is None or told["loyalty"].seconds < 20


def test_few_traces_are_looked_at_for_it(
    ends: None, first: User, pay: Pay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where those that come first are of another partition, since when all was done is told instead."""
    for offset in range(3):
        pay(first)
        for event in OutboxEvent.objects.filter(topic="payments").order_by("-position")[:1]:
            Publication.objects.create(
                event_id=event.id, partition=int(offset < 2), offset=offset + 7, published_at=clock.now()
            )
    stands("loyalty", reached=7, clear=60 * SECOND, told=60 * SECOND)
    monkeypatch.setattr("outbox.oldest_left.TRACES", 2)
    monkeypatch.setattr("dashboard.behind.TRACES", 2)
    compared()
    seconds = all_behind(now=clock.now(), unsent={})["loyalty"].seconds
    assert seconds is not None
    assert seconds >= 59


def test_what_no_relay_has_sent_makes_late_too(first: User, pay: Pay) -> None:
    pay(first)
    now = compared()
    _, unsent = backlog()
    assert set(unsent) == {"payments"}
    told = all_behind(now=now + 18 * SECOND, unsent=unsent)
    late_by = told["orders"].wait(limit=5).seconds
    assert late_by is not None
    assert 18 <= late_by < 30
    assert told["orders"].seconds is None
    assert told["payments"].wait(limit=5).late is None


def test_a_pause_is_told_with_who_and_why(db: None) -> None:
    assert not any(one.pause for one in all_behind(now=clock.now(), unsent={}).values())
    pausing.pause(consumer=get_consumer("orders"), by="an operator", reason="a bad deploy")
    compared()
    told = all_behind(now=clock.now(), unsent={})
    assert [name for name, one in told.items() if one.pause] == ["orders"]
    assert told["orders"].pause is not None
    assert (told["orders"].pause.by, told["orders"].pause.reason) == ("an operator", "a bad deploy")
    pausing.resume(consumer=get_consumer("orders"), by="an operator")
    assert not any(one.pause for one in all_behind(now=clock.now(), unsent={}).values())


def test_an_end_that_nobody_has_told_leaves_the_lag_unknown(db: None) -> None:
    TopicRecord.objects.create(name="payments", partitions=2, applied_at=clock.now())
    PartitionEnd.objects.create(topic="payments", partition=0, next_offset=0)
    PartitionEnd.objects.create(topic="orders", partition=0, next_offset=0)
    compared()
    told = all_behind(now=clock.now(), unsent={})
    assert (told["loyalty"].events, told["loyalty"].seconds) == (None, None)
    assert (told["payments"].events, told["payments"].seconds) == (0, 0.0)
    PartitionEnd.objects.create(topic="payments", partition=1, next_offset=0)
    compared()
    told = all_behind(now=clock.now(), unsent={})
    assert (told["loyalty"].events, told["loyalty"].seconds) == (0, 0.0)


def test_a_place_in_a_topic_that_is_read_no_longer_leaves_nothing_unknown(ends: None) -> None:
    now = clock.now()
    Position.objects.create(
        consumer="payments", topic="gone", partition=0, reached=3, clear_until=now, reported_at=now
    )
    compared()
    assert all_behind(now=now, unsent={})["payments"].events == 2


def test_without_a_word_of_anybody_every_consumer_is_told(db: None) -> None:
    told = all_behind(now=clock.now(), unsent={})
    assert set(told) == {consumer.name for consumer in all_consumers()}
    compared()
