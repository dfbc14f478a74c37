"""A Kafka that stood still for longer than a session lasts: every member of a group finds its way back.

When it wakes up, a broker tells for a moment that there is none. A client believes that, and has nobody left
to ask but those it was given at first.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

import devstack.kafka
from devstack.stack import Stack
from outbox.kafka import Cluster, GroupReader
from outbox.kafka.base import client_options
from tests.engine import until
from tests.servers import PROJECT

MEMBERS = 8
# Longer than a session of a member (6 s), of a broker (9 s), and than a request waits for its answer (10 s).
FROZEN = 18.0


class Member:
    """Reads, as a consumer's instance does, until it is told to stop."""

    def __init__(self, kafka: dict[str, str], topic: str) -> None:
        self._stop = threading.Event()
        self.places: set[tuple[str, int]] = set()
        self._reader = GroupReader(
            kafka,
            group=f"group-{uuid4().hex[:8]}",
            topics=[topic],
            on_lost=self.places.difference_update,
            on_gained=self.places.update,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if read := self._reader.poll(limit=10, timeout=0.5):
                self._reader.commit({(one.topic, one.partition): one.offset + 1 for one in read})
        self._reader.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


class Sender:
    """Has something to be read all the time."""

    def __init__(self, kafka: dict[str, str], topic: str) -> None:
        self._stop = threading.Event()
        self._producer = Producer(client_options(kafka))
        self._thread = threading.Thread(target=self._run, args=[topic])
        self._thread.start()

    def _run(self, topic: str) -> None:
        while not self._stop.wait(0.05):
            self._producer.produce(topic, b"x")
            self._producer.poll(0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def own_kafka(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """One that takes seconds to find itself again, as in a cluster, and tells of no broker meanwhile."""
    monkeypatch.setitem(devstack.kafka.SETTINGS, "broker.session.timeout.ms", 5_000)
    monkeypatch.setitem(devstack.kafka.SETTINGS, "broker.heartbeat.interval.ms", 4_000)
    jars = PROJECT / ".devstack" / "jars"
    with Stack(tmp_path, jars=jars, environ={"DATABASE_URL": stack.database_url}) as own:
        yield own


def test_every_member_comes_back(own_kafka: Stack) -> None:
    kafka = {"bootstrap.servers": own_kafka.kafka_bootstrap}
    Cluster(kafka).create_topic("frozen", partitions=4, replication=1, config={})
    pid = own_kafka.kafka.pid
    assert pid is not None
    with ExitStack() as opened:
        opened.callback(Sender(kafka, "frozen").close)
        members = [Member(kafka, "frozen") for _ in range(MEMBERS)]
        for member in members:
            opened.callback(member.close)
        until(lambda: all(len(member.places) == 4 for member in members), seconds=60)
        for _ in range(2):
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(FROZEN)
            finally:
                os.kill(pid, signal.SIGCONT)
            until(lambda: all(len(member.places) == 4 for member in members), seconds=120)
