"""Celery over the same PostgreSQL: what was sent is run, and a killed worker loses nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from celery import Celery
from django.db import connection

from eventsite import broker
from outbox.partitions import TABLES, make_partitions
from tests.engine import until
from tests.servers import PROJECT

pytestmark = pytest.mark.django_db(transaction=True)
VISIBILITY_TIMEOUT = 2


@pytest.fixture
def url() -> str:
    """The broker of the test database."""
    return broker.url_over_database(connection.settings_dict)


@pytest.fixture
def database(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(f"postgresql{url.removeprefix('pgmq')}") as session:
        yield session


@pytest.fixture
def missing() -> Iterator[str]:
    """The name of a partition that is missing: the task makes it. There again afterwards."""
    table = TABLES[0]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = %s::regclass", [table]
        )
        (name,) = cursor.fetchone()
        cursor.execute(f"DROP TABLE {name}")
    yield name
    make_partitions()


@contextmanager
def worker(url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "DATABASE_URL": f"postgresql{url.removeprefix('pgmq')}",
        "CELERY_VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
    }
    options = ["--pool=threads", "--concurrency=1", "--hostname=worker@test", "--without-gossip"]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "--app", "eventsite", "worker", *options, "--without-mingle"],
            cwd=PROJECT,
            env={**os.environ, **settings},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def send(url: str) -> None:
    with Celery(broker=url, set_as_current=False) as app:
        app.conf.broker_transport_options = broker.transport_options(
            url, visibility_timeout=VISIBILITY_TIMEOUT
        )
        # A connection of its own is closed at the end; one of the app's pool would stay open.
        with app.connection_for_write() as connection:
            app.send_task("outbox.make_partitions", connection=connection)


def exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        return bool(cursor.fetchone()[0])


def waits_for(table: str) -> bool:
    """Whether some session waits for a lock on the table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND NOT granted", [table])
        return bool(cursor.fetchone()[0])


def test_a_task_sent_is_run(url: str, missing: str, tmp_path: Path) -> None:
    send(url)
    with worker(url, tmp_path / "log"):
        until(lambda: exists(missing))


def test_a_task_whose_worker_is_killed_is_run_by_another(
    url: str, database: psycopg.Connection, missing: str, tmp_path: Path
) -> None:
    """Killed in the middle of the task: it waits for a lock that the test holds."""
    with ExitStack() as stack:
        database.execute(f"LOCK TABLE {TABLES[0]} IN ACCESS EXCLUSIVE MODE")
        send(url)
        first = stack.enter_context(worker(url, tmp_path / "first"))
        until(lambda: waits_for(TABLES[0]))
        first.send_signal(signal.SIGKILL)
        first.wait()
        database.rollback()
        until(lambda: not waits_for(TABLES[0]))
        assert not exists(missing)
        stack.enter_context(worker(url, tmp_path / "second"))
        until(lambda: exists(missing))
