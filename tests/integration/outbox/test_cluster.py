"""What operators ask of Kafka, while it goes away and comes back."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from devstack.stack import Stack
from outbox import Topic
from outbox.config import config
from outbox.kafka import BrokerError, Cluster, GroupReader, member_name
from tests.engine import new_topic, until
from tests.servers import PROJECT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("engine")]

# A line for each answer.
ASKER = """
import sys
from outbox.kafka import BrokerError, Cluster
topic = sys.argv[2]
cluster = Cluster({"bootstrap.servers": sys.argv[1]}, timeout=2.0)
while True:
    try:
        print(cluster.committed(topic, [(topic, 0)]), cluster.members(topic), flush=True)
    except BrokerError:
        pass
"""


@pytest.fixture
def topic() -> Topic:
    return new_topic(partitions=2)


class Asker:
    """A process that asks about a group all the time."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._answers = folder / "answers"
        with self._answers.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ASKER, *arguments],
                cwd=PROJECT,
                env=os.environ | {"PYTHONPATH": "."},
                stdout=output,
            )

    def answers(self) -> int:
        """How many it has had; fails when it has ended."""
        assert self.process.poll() is None, f"it ended by {self.process.returncode}"
        return self._answers.read_text().count("\n")


@pytest.fixture
def asker(topic: Topic, stack: Stack, tmp_path: Path) -> Iterator[Asker]:
    Cluster(config().kafka).set_committed(topic.name, {(topic.name, 0): 7})
    asker = Asker(tmp_path, stack.kafka.bootstrap, topic.name)
    yield asker
    asker.process.kill()
    asker.process.wait()


def test_offsets_are_set_and_told_for_the_partitions_asked_for(topic: Topic) -> None:
    cluster, (first, second) = Cluster(config().kafka), ((topic.name, 0), (topic.name, 1))
    assert cluster.committed(f"nobody-{topic.name}", [first, second]) == {}
    cluster.set_committed(topic.name, {first: 7, second: 0})
    assert cluster.committed(topic.name, [first, second]) == {first: 7, second: 0}
    assert cluster.committed(topic.name, [second]) == {second: 0}


def test_members_are_told_with_what_they_read(topic: Topic) -> None:
    cluster, group = Cluster(config().kafka), f"group-of-{topic.name}"
    assert cluster.members(group) == {}
    reader = GroupReader(config().kafka, group=group, topics=[topic.name], on_lost=lambda _: None)
    try:
        until(lambda: reader.poll(limit=1, timeout=0.1) or len(reader.assignment()) == 2)
        assert cluster.members(group) == {member_name(): {(topic.name, 0), (topic.name, 1)}}
        assert len(cluster.member_ids(group)) == 1
    finally:
        reader.close()
    until(lambda: not cluster.members(group))


def test_a_group_of_others_than_consumers_is_said(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka Connect's workers say in other words what they do."""
    cluster, group = Cluster(config().kafka), f"group-of-{topic.name}"
    worker = SimpleNamespace(id="w1", client_id="connect-1", assignment=b"\x00\x01\x00\x00\x00\x05worker")
    monkeypatch.setattr(cluster, "_members", lambda _: [worker])
    with pytest.raises(BrokerError, match=f"group {group}: what connect-1 reads"):
        cluster.members(group)


def test_a_group_is_forgotten_with_how_far_it_has_come(topic: Topic) -> None:
    cluster, place = Cluster(config().kafka), (topic.name, 0)
    cluster.set_committed(topic.name, {place: 7})
    cluster.delete_group(topic.name)
    assert cluster.committed(topic.name, [place]) == {}
    cluster.delete_group(topic.name)


def test_a_kafka_that_is_away_is_said() -> None:
    cluster = Cluster({"bootstrap.servers": "127.0.0.1:1"}, timeout=1.0)
    with pytest.raises(BrokerError, match="group g"):
        cluster.committed("g", [("t", 0)])
    with pytest.raises(BrokerError, match="group g"):
        cluster.set_committed("g", {("t", 0): 1})
    with pytest.raises(BrokerError, match="group g"):
        cluster.members("g")
    with pytest.raises(BrokerError, match="group g"):
        cluster.delete_group("g")


def test_who_asks_about_a_group_while_kafka_starts_survives_it(asker: Asker, stack: Stack) -> None:
    """A Kafka that has just started sends whoever asks it for a group to another coordinator."""
    for _ in range(5):
        before = asker.answers()
        until(lambda: asker.answers() > before)  # noqa: B023
        stack.kafka.kill()
        stack.kafka.start()
    before = asker.answers()
    until(lambda: asker.answers() > before)
