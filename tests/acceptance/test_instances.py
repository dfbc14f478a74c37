"""Several instances of a consumer under one command: shared out, restarted, drained, never left behind."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from outbox.kafka import Cluster
from tests.acceptance.relays import Relays, running_relays
from tests.engine import until

PARTITIONS = 4


@pytest.fixture
def site() -> Iterator[Relays]:
    with running_relays() as site:
        yield site


def start(site: Relays, count: int) -> psutil.Process:
    site.start("consumer", "manage.py", "run_consumer", "analytics", f"--instances={count}")
    return psutil.Process(site.processes["consumer"].pid)


def members(site: Relays) -> dict[int, int]:
    """How many partitions each process of the group reads, by its pid, as Kafka says."""
    cluster = Cluster({"bootstrap.servers": site.stack.kafka_bootstrap})
    group = cluster.members("analytics")
    return {int(name.rpartition(":")[2]): len(places) for name, places in group.items()}


def shared(site: Relays, parent: psutil.Process, *counts: int) -> bool:
    """Whether the parent's instances read so many partitions each."""
    children = {child.pid for child in parent.children()}
    found = members(site)
    return set(found) == children and sorted(found.values()) == sorted(counts)


def shown(site: Relays) -> dict[int, int]:
    """The same, as the instances tell the database."""
    rows = site.query(
        "SELECT split_part(name, ':', 2)::int, jsonb_array_length(partitions) FROM outbox_consumer_member"
        " WHERE consumer = 'analytics'"
    )
    return dict(rows)


def test_instances_share_are_restarted_and_drained_and_idle_ones_are_shown(site: Relays) -> None:
    parent = start(site, PARTITIONS + 1)
    until(lambda: shared(site, parent, 0, 1, 1, 1, 1), seconds=60)
    until(lambda: shown(site) == members(site))
    assert "1 of 5 instances will be idle" in site.log()

    # One that dies is replaced; the idle one takes over meanwhile.
    victim = next(pid for pid, count in members(site).items() if count)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in {child.pid for child in parent.children()} and len(parent.children()) == 5)
    until(lambda: shared(site, parent, 0, 1, 1, 1, 1), seconds=60)
    assert f"(pid {victim}) died by SIGKILL" in site.log()

    # SIGTERM drains all of them: they leave the group and take leave of the database.
    instances = parent.children()
    assert site.end("consumer") == 0, site.log()
    assert not any(one.is_running() for one in instances)
    assert shown(site).keys() <= {victim}  # it could not
    until(lambda: members(site) == {})


def test_no_instance_outlives_its_parent(site: Relays) -> None:
    parent = start(site, 2)
    until(lambda: shared(site, parent, 2, 2), seconds=60)
    instances = parent.children()
    site.kill("consumer")
    psutil.wait_procs(instances, timeout=30)
    assert not any(_lives(one) for one in instances), site.log()
    # They took their leave.
    assert shown(site) == {}
    until(lambda: members(site) == {})


def test_an_instance_killed_while_all_are_drained_is_told_by_the_exit_status(site: Relays) -> None:
    parent = start(site, 2)
    until(lambda: shared(site, parent, 2, 2), seconds=60)
    frozen = parent.children()[0]
    frozen.suspend()
    site.send("consumer", signal.SIGTERM)
    until(lambda: [one.pid for one in parent.children()] == [frozen.pid])
    frozen.kill()
    assert site.processes.pop("consumer").wait(30) == 1, site.log()
    assert f"(pid {frozen.pid}) ended by SIGKILL" in site.log()


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_number_that_makes_no_sense_is_refused(site: Relays, count: str) -> None:
    said = site.said("run_consumer", "analytics", f"--instances={count}")
    assert "--instances is a number from 1" in said


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
