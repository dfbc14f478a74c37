"""Which instances are there and what they read, also while one is gone and has not been missed."""

from datetime import datetime, timedelta

import pytest

from outbox import clock
from outbox.lag import Lag, lags
from outbox.lag_table import shown
from outbox.positions import Member, PartitionEnd
from outbox.registry import get_consumer
from outbox.system_metrics import _of_lag

pytestmark = pytest.mark.django_db

ALL = [0, 1, 2, 3]


@pytest.fixture(autouse=True)
def ends() -> None:
    for partition in ALL:
        PartitionEnd.objects.create(topic="payments", partition=partition, next_offset=0)


def says(name: str, partitions: list[int], *, ago: float) -> None:
    """What an instance of orders said so many seconds ago. They started by their names."""
    Member.objects.create(
        consumer="orders",
        name=name,
        partitions=[["payments", partition] for partition in partitions],
        started_at=datetime.fromisoformat("2026-03-01T00:00:00Z") + timedelta(seconds=ord(name[0])),
        seen_at=clock.now() - timedelta(seconds=ago),
    )


def told() -> Lag:
    [lag] = lags([get_consumer("orders")], using="default")
    return lag


def reads(lag: Lag) -> dict[str, list[int]]:
    return {member.name: [partition for _, partition in member.partitions] for member in lag.members}


def readers(lag: Lag) -> list[str | None]:
    return [part.member for part in lag.partitions if part.topic == "payments"]


def metrics(lag: Lag) -> tuple[float, float]:
    """How many instances there are, and how many of them are idle."""
    values = {sample.name: sample.value for sample in _of_lag(lag)}
    return values["outbox_consumer_instances"], values["outbox_consumer_idle_instances"]


def test_of_two_that_name_a_partition_the_one_that_spoke_last_reads_it() -> None:
    says("a", ALL, ago=8)
    says("b", ALL, ago=0)
    lag = told()
    assert reads(lag) == {"a": [], "b": ALL}
    assert readers(lag) == ["b"] * 4
    assert [(member.silent, member.idle) for member in lag.members] == [(True, False), (False, False)]
    assert lag.silent_readers == ()
    assert metrics(lag) == (2, 0)


def test_one_that_lost_some_keeps_the_others_whichever_started_first() -> None:
    says("a", [1, 2], ago=0.2)
    says("b", [2, 3], ago=0.6)
    lag = told()
    assert reads(lag) == {"a": [1, 2], "b": [3]}
    assert readers(lag) == [None, "a", "a", "b"]


def test_those_of_another_consumer_take_nothing_away() -> None:
    says("a", ALL, ago=1)
    Member.objects.create(consumer="analytics", name="other", partitions=[["payments", 0]])
    assert reads(told()) == {"a": ALL}


def test_one_that_has_gone_silent_is_no_healthy_reader() -> None:
    says("a", ALL, ago=4)
    says("b", [], ago=0)
    lag = told()
    assert readers(lag) == ["a"] * 4  # it may read them still
    assert [member.name for member in lag.silent_readers] == ["a"]
    assert metrics(lag) == (2, 1)
    lines = [line for line in shown(lag) if "says" not in line]
    assert "a has said nothing for 4 s" in lines
    assert (
        "b is idle: partitions of a silent one are shared out within seconds, unless it speaks again" in lines
    )
    assert sum(line.endswith("a, silent") for line in lines) == 4


def test_a_report_that_is_late_by_one_is_no_silence() -> None:
    says("a", ALL, ago=2)
    says("b", [], ago=1)
    lag = told()
    assert not any(member.silent for member in lag.members)
    assert "b is idle: there is no partition left for it" in list(shown(lag))


def test_one_that_has_said_nothing_for_long_is_not_there() -> None:
    says("a", ALL, ago=11)
    assert told().members == ()
