"""A relay's connections are lost at each of its statements in turn: nothing is skipped or out of order.

Every statement that it sends, on whichever connection, is the last one of that connection once, before the
server hears it, after the server has done it, and while the server works at it.
"""

import secrets
import threading
from functools import partial

import pytest
from django.db import connection, transaction

from outbox import Topic, publish, refusals
from outbox.config import Config, config
from outbox.kafka import Cluster
from outbox.lease import Leases
from outbox.models import OutboxEvent, Refusal, TopicRecord
from outbox.recovery import backoff
from outbox.relay import Relay
from outbox.relay_models import Shard
from tests.database_link import Cut, DatabaseLink, Statement, relays_connect_through
from tests.engine import NOW, Running, Writer, all_records, new_topic, noted_on, numbers_by_key, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("engine")]

KEYS = [f"key {number}" for number in range(16)]  # in every shard some


class Walk:
    """Cuts once at each statement at which its manner makes a difference; remembers which there were."""

    def __init__(self, manner: Cut) -> None:
        self._manner = manner
        self._lock = threading.Lock()
        self.seen: set[Statement] = set()

    def __call__(self, statement: Statement) -> Cut | None:
        with self._lock:
            if statement in self.seen or not _matters(self._manner, statement):
                return None
            self.seen.add(statement)
            return self._manner


def _matters(manner: Cut, statement: Statement) -> bool:
    """What has been read, or is rolled back, is as if it had never been asked for."""
    ends = statement.text == "COMMIT" or (
        statement.alone and statement.text.split()[0] not in {"SELECT", "BEGIN"}
    )
    return manner is Cut.BEFORE or ends


def relay(stop: threading.Event) -> Relay:
    threading.current_thread().name = "outbox-relay"
    small = Config(kafka=config().kafka, topics=config().topics, relay_page=8, lease=1.0)
    return Relay(stop=stop, settings=small)


@pytest.mark.parametrize("manner", list(Cut))
def test_nothing_is_skipped_wherever_the_connection_is_lost(
    manner: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outbox.relay.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("outbox.relay.backoff", partial(backoff, first=0.01, most=0.01))
    topic = new_topic(partitions=2, **{"max.message.bytes": "2000"})
    walk, before = Walk(manner), -1
    with (
        DatabaseLink(_url(), cut=walk) as link,
        relays_connect_through(link),
    ):
        while len(walk.seen) > before:
            before = len(walk.seen)
            _a_relays_life(topic)
    _check(topic)
    sessions = {statement.session.rstrip("_0") for statement in walk.seen}
    met = "\n".join(statement.text for statement in walk.seen)
    assert sessions >= {"outbox-relay", "outbox-relay-recorder", "outbox-relay-heartbeat"}
    assert [part for part in MET if part not in met] == []
    if manner is Cut.BEFORE:
        assert "outbox-relay-reader" in sessions
        assert [part for part in MET_IN_TRANSACTIONS if part not in met] == []


# Statements that are sent in a whole life only: of those in transactions each is lost once, and rolled back.
MET = [
    "LISTEN",
    "COMMIT",
    "SET owner = ?",
    "SET previous = ?",
    "SET owner = NULL",
    "DELETE FROM outbox_relay",
]
MET_IN_TRANSACTIONS = [
    "AS late",
    "FILTER (WHERE late)",
    "outbox_origin",
    "data of COPY",
    "end of COPY",
    "outbox_topic",
] + [f"{verb} outbox_refusal" for verb in ("INSERT INTO", "UPDATE", "DELETE FROM")]


def _a_relays_life(topic: Topic) -> None:
    """All that it may have to do, from its start to its end."""
    event = noted_on(topic)
    bad = f"bad {secrets.token_hex(4)}"
    with Writer() as late:
        late.begin()
        late.call(lambda: [publish(event(about=f"late {about}")) for about in KEYS])
        _publish(topic)
        with Running(relay):
            until(lambda: _unsent() == 0)
            late.end()
            _publish(topic)
            with transaction.atomic():
                guilty = publish(event(about=bad, text=secrets.token_hex(5_000)))
                publish(event(about=bad, text="behind"))
            until(lambda: Refusal.objects.count() == 2)
            _share_for_a_while()
            refusals.resend(event_id=guilty)
            until(lambda: not Refusal.objects.filter(requested_at__isnull=False).exists())
            refusals.discard(event_id=guilty, reason="too large")
            until(lambda: not Refusal.objects.exists())
            _add_a_partition(topic)
            _publish(topic)
            until(lambda: _unsent() == 0)


def _publish(topic: Topic) -> None:
    event = noted_on(topic)
    for _ in range(2):
        with transaction.atomic():
            for about in KEYS:
                publish(event(about=about))


def _share_for_a_while() -> None:
    """Have the relay give shards away, and take them again."""
    other = Leases(using="default", seconds=60)
    other.beat()
    until(lambda: Shard.objects.filter(owner=None).count() == 4)
    other.leave()
    until(lambda: not Shard.objects.filter(owner=None).exists())


def _add_a_partition(topic: Topic) -> None:
    total = TopicRecord.objects.get(name=topic.name).partitions + 1
    Cluster(config().kafka).add_partitions(topic.name, total=total)
    TopicRecord.objects.filter(name=topic.name).update(partitions=total)


def _unsent() -> int:
    """Events without a trace, or beyond their shard's cursor."""
    with connection.cursor() as sql:
        sql.execute(
            "SELECT count(*) FROM outbox_event AS event JOIN outbox_shard USING (shard) WHERE NOT EXISTS"
            " (SELECT FROM outbox_publication WHERE event_id = event.id) OR NOT ("
            "  pg_visible_in_snapshot(txid, previous) OR coalesce(pg_visible_in_snapshot(txid, current)"
            "   AND event.position <= outbox_shard.position, false))"
        )
        [(count,)] = sql.fetchall()
    return int(count)


def _url() -> str:
    where = connection.get_connection_params()
    return (
        f"postgresql://{where['user']}:{where['password']}@{where['host']}:{where['port']}/{where['dbname']}"
    )


def _check(topic: Topic) -> None:
    """Every event is in Kafka, the first occurrences of each key's in order."""
    # A key may have gone to another partition; what goes to one keeps its order.
    records = sorted(all_records(topic), key=lambda record: record.timestamp or NOW)
    found = {(dict(record.headers)["ce_id"] or b"").decode() for record in records}
    assert found == {str(event_id) for event_id in OutboxEvent.objects.values_list("id", flat=True)}
    for numbers in numbers_by_key(records).values():
        assert numbers == list(range(1, len(numbers) + 1))
