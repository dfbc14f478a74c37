"""SIGKILL under load, of every part, when it is seen to be in the middle of its work: nothing is lost.

Nothing here is mocked: a PostgreSQL and a Kafka of the test's own, and the relay, the consumers and their
load as processes. What was committed is read from the database afterwards, and everything must follow
from it exactly.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psycopg
import pytest

from devstack.stack import Stack
from outbox.kafka import Cluster, GroupReader, Record
from tests.acceptance.effects import check_points, check_volumes
from tests.engine import until, until_none_is_left
from tests.prepared import prepare
from tests.servers import PROJECT

CONSUMERS = {"orders": "payments", "loyalty": "payments", "analytics": "payments", "payments": "orders"}
# Killed one round after the other; those of a round at once, each of another consumer.
ROUNDS = (("relay",), ("orders-1", "loyalty-1", "payments-1", "analytics-1"), ("orders-2", "analytics-2"))
WORKERS = tuple(chain.from_iterable(ROUNDS))
TOPICS = ("payments", "orders", "loyalty")
STEP = 40  # events that each consumer must have moved on before the next kill


class Site:
    """The project's processes on a stack of their own, to be killed one by one."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._environment = {**os.environ, **stack.environment()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (stack.folder / "site.log").open("ab")

    def prepare(self) -> None:
        """Tables and topics."""
        prepare(self._environment)

    def start(self, name: str) -> None:
        command = {"load": ["-m", "tests.acceptance.load"], "relay": ["manage.py", "run_relay"]}.get(
            name, ["manage.py", "run_consumer", name.partition("-")[0]]
        )
        self._processes[name] = subprocess.Popen(
            [sys.executable, *command],
            cwd=PROJECT,
            env=self._environment,
            stdin=subprocess.PIPE if name == "load" else subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill(self, name: str) -> None:
        process = self._processes[name]
        assert process.poll() is None, f"{name} had ended by itself: {self.log()}"
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self, name: str) -> None:
        """Have it stop in order, and see that it does."""
        process = self._processes.pop(name)
        if name == "load":
            process.communicate(timeout=60)
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, self.log()

    def end_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()
        self._log.close()

    def log(self) -> str:
        return (self.stack.folder / "site.log").read_text(errors="replace")[-4_000:]

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            return connection.execute(sql).fetchall()

    def count(self, sql: str) -> int:
        return int(str(self.query(f"SELECT count(*) FROM {sql}")[0][0]))

    def moved_past(self) -> int:
        """Events that the slowest consumer has moved past."""
        return min(self.count(f"outbox_inbox WHERE consumer = '{name}'") for name in CONSUMERS)

    def make_progress(self) -> None:
        """Return when every consumer has moved on by STEP, with more still on its way."""
        goal = self.moved_past() + STEP
        until(lambda: self.moved_past() >= goal, seconds=180)
        assert self._processes["load"].poll() is None, self.log()


@pytest.fixture
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="es-"))
    try:
        with Stack(folder, jars=PROJECT / ".devstack" / "jars", environ={}) as stack:
            site = Site(stack)
            try:
                site.prepare()
                yield site
            finally:
                site.end_all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_nothing_is_lost_doubled_or_reordered_whatever_is_killed(site: Site) -> None:
    for name in (*WORKERS, "load"):
        site.start(name)
    for victims in ROUNDS:
        site.make_progress()
        for victim in victims:
            site.kill(victim)
            site.start(victim)
    for server in (site.stack.kafka, site.stack.postgres):
        site.make_progress()
        server.kill()
        server.start()
    site.make_progress()
    for victim in WORKERS:
        site.kill(victim)
    site.stack.kafka.kill()
    site.stack.postgres.kill()
    site.stack.postgres.start()
    site.stack.kafka.start()
    for victim in WORKERS:
        site.start(victim)
    site.make_progress()
    site.end("load")
    _wait_until_all_is_processed(site)
    for name in WORKERS:
        site.end(name)
    _check_effects(site)
    _check_topics(site)


def _wait_until_all_is_processed(site: Site) -> None:
    """Events cause events: everything is sent and processed at one and the same moment."""
    unpublished = "outbox_event e WHERE NOT EXISTS (SELECT FROM outbox_publication WHERE event_id = e.id)"

    def left() -> list[int]:
        return [
            site.count(unpublished),
            *[
                site.count(f"outbox_event WHERE topic = '{topic}'")
                - site.count(f"outbox_inbox WHERE consumer = '{consumer}'")
                for consumer, topic in CONSUMERS.items()
            ],
        ]

    until_none_is_left(left)


def _check_effects(site: Site) -> None:
    """Every committed payment has what follows from it, once; every refund undid all of it, once."""
    requested = site.count("payments_payment")
    refunded = site.count("payments_payment WHERE status = 'refunded'")
    validated = site.count("payments_payment WHERE status = 'validated'") + refunded
    assert requested >= validated > refunded > STEP / 4
    types: dict[object, object] = _pairs(site.query("SELECT type, count(*) FROM outbox_event GROUP BY type"))
    assert types == {
        "payments.PaymentRequested.v1": requested,
        "payments.PaymentValidated.v1": validated,
        "payments.PaymentRefunded.v1": refunded,
        "orders.OrderCreated.v1": validated,
        "orders.OrderCancelled.v1": refunded,
        "loyalty.PointsEarned.v1": validated,
        "loyalty.PointsReversed.v1": refunded,
    }
    # Both ways round: an order was cancelled first, or a payment was refunded first.
    causes = _pairs(
        site.query(
            "SELECT convert_from(payload, 'UTF8')::json->>'cause', count(*) FROM outbox_event"
            " WHERE type = 'payments.PaymentRefunded.v1' GROUP BY 1"
        )
    )
    assert set(causes) == {"command", "order_cancelled"}
    assert site.count("orders_order") == validated
    pairs = "payments_payment p JOIN orders_order o ON o.payment_id = p.id"
    assert site.count(pairs) == validated
    assert site.count(f"{pairs} WHERE (p.status = 'refunded') <> (o.status = 'cancelled')") == 0
    check_points(site.query)
    check_volumes(site.query)
    outcomes = site.query("SELECT consumer, outcome, count(*) FROM outbox_inbox GROUP BY 1, 2 ORDER BY 1, 2")
    assert outcomes == [
        ("analytics", "processed", requested + validated + refunded),
        ("loyalty", "processed", validated + refunded),
        ("loyalty", "unhandled", requested),
        ("orders", "processed", validated + refunded),
        ("orders", "unhandled", requested),
        ("payments", "processed", refunded),
        ("payments", "unhandled", validated),
    ]
    for table in ("outbox_dead_letter", "outbox_parked_key", "outbox_waiting_event", "outbox_refusal"):
        assert site.count(table) == 0, table


def _pairs(rows: list[tuple[object, ...]]) -> dict[object, object]:
    return {row[0]: row[1] for row in rows}


def _check_topics(site: Site) -> None:
    """First occurrences: every event of the outbox, each key in order, without a gap."""
    records = _all_records(site)
    first: dict[bytes, Record] = {}
    for record in records:
        first.setdefault(dict(record.headers)["ce_id"] or b"", record)
    events = {str(event_id).encode() for (event_id,) in site.query("SELECT id FROM outbox_event")}
    assert set(first) == events
    numbers: dict[tuple[str, bytes | None], list[int]] = defaultdict(list)
    for record in first.values():
        numbers[record.topic, record.key].append(int(dict(record.headers)["ce_sequence"] or b"0"))
    wrong = {key: found for key, found in numbers.items() if found != list(range(1, len(found) + 1))}
    assert wrong == {}
    assert len(numbers) > 5


def _all_records(site: Site) -> list[Record]:
    kafka = {"bootstrap.servers": site.stack.kafka_bootstrap}
    cluster = Cluster(kafka)
    places = [(topic, part) for topic, parts in cluster.partition_counts().items() for part in range(parts)]
    total = sum(cluster.watermarks([place for place in places if place[0] in TOPICS]).values())
    reader = GroupReader(kafka, group="check", topics=list(TOPICS), on_lost=lambda _: None)
    records: list[Record] = []
    try:

        def read() -> bool:
            records.extend(reader.poll(limit=10_000, timeout=0.5))
            return len(records) >= total

        until(read, seconds=60)
    finally:
        reader.close()
    return records
