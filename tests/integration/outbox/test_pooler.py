"""Through a pooler in transaction mode: nothing is left in a session that others share, nothing relied on."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from devstack.stack import Stack
from outbox import Consumer, handles, publish, registry, wake
from outbox.consumer import ConsumerWorker
from outbox.listen import Listener
from outbox.models import InboxEntry, TopicRecord
from outbox.relay import Relay
from tests.engine import NOW, Running, new_topic, noted_on, until
from tests.pooler import POOL_SIZE, Pooler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def pooler(stack: Stack) -> Iterator[Pooler]:
    with Pooler(stack.folder, database_url=stack.database_url) as pooler:
        yield pooler


@pytest.fixture(autouse=True)
def _pooled(pooler: Pooler, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Django's connections lead to the pooler."""
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "PORT", pooler.port)
        yield
        wake.stop()
        connection.close()


def in_each_session(question: str) -> list[object]:
    """What every session that the pooler shares out answers."""
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in {"host", "port", "user", "password", "dbname"}
    }
    answers: dict[int, object] = {}
    with ExitStack() as opened:
        for _ in range(POOL_SIZE):  # each in a transaction, which keeps its session from the next
            session = opened.enter_context(psycopg.connect(**parameters))
            row = session.execute(f"SELECT pg_backend_pid(), ({question})").fetchone()
            assert row is not None
            answers[row[0]] = row[1]
    assert len(answers) == POOL_SIZE
    return [*answers.values()]


def test_a_listener_waits_for_its_time_and_no_shared_session_listens() -> None:
    listener = Listener(using="default")
    listener.listen()
    listener.wait(0.05)
    assert in_each_session("SELECT count(*) FROM pg_listening_channels()") == [0] * POOL_SIZE
    listener.close()


# Timeouts are the settings that this project makes.
LEFT = """
SELECT (SELECT count(*) FROM pg_listening_channels())
    + (SELECT count(*) FROM pg_prepared_statements) + (SELECT count(*) FROM pg_cursors)
    + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
    + (SELECT count(*) FROM pg_settings WHERE source = 'session' AND name LIKE '%timeout%')
"""


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    before = dict(registry._consumers)
    yield Consumer(name="pooled", sync_delay_limit=timedelta(seconds=5))
    registry._consumers.clear()
    registry._consumers.update(before)


@pytest.mark.usefixtures("engine")
def test_nothing_is_left_in_the_sessions_that_relay_consumer_and_publishers_share(consumer: Consumer) -> None:
    in_each_session("SELECT 1")
    event = noted_on(new_topic())
    handles(consumer, event)(lambda _: None)
    with Running(lambda stop: Relay(stop=stop)), Running(lambda stop: ConsumerWorker(consumer, stop=stop)):
        for number in range(20):
            with transaction.atomic():
                publish(event(about=f"{number}"))
        until(lambda: InboxEntry.objects.filter(consumer=consumer.name).count() == 20)
        assert in_each_session(LEFT) == [0] * POOL_SIZE
    assert in_each_session(LEFT) == [0] * POOL_SIZE


@pytest.mark.parametrize(
    "command",
    [
        "prune_events --dry-run",
        "consumers rebuild analytics",
        "consumers rebuild analytics --abandon",
        "consumers clear analytics",
    ],
)
def test_what_needs_a_lock_of_its_session_is_refused(command: str) -> None:
    with pytest.raises(CommandError, match="session of its own"):
        call_command(*command.split())
    assert in_each_session(LEFT) == [0] * POOL_SIZE


def test_an_iterator_outlives_no_session() -> None:
    in_each_session("SELECT 1")
    for number in range(POOL_SIZE):
        TopicRecord.objects.create(name=f"topic-{number}", partitions=1, applied_at=NOW)
    assert len(list(TopicRecord.objects.iterator(chunk_size=1))) == POOL_SIZE
