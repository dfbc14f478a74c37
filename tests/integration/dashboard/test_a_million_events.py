"""With a million events the events page opens within a second, whatever it is asked."""

import time
from collections.abc import Iterator
from urllib.parse import urlencode

import psycopg
import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import User
from benchmarks.pages import RUNS, TABLES, fill, questions
from devstack.stack import Stack
from outbox.partitions import make_partitions
from tests.integration.dashboard.conftest import browser_of

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = 1_000_000
# What is promised; the page takes a tenth of it.
SECONDS = 1.0


@pytest.fixture
def outside(stack: Stack, db: None) -> Iterator[psycopg.Connection]:
    """A connection that may fill whole weeks; afterwards there are those that there were."""
    database = f"{stack.database_url.rsplit('/', 1)[0]}/{connection.settings_dict['NAME']}"
    with psycopg.connect(database, autocommit=True) as outside:
        before = _weeks(outside)
        yield outside
        for name in {"outbox_inbox_past", *(_weeks(outside) - before)}:
            outside.execute(f"DROP TABLE {name}")
        make_partitions()
        assert _weeks(outside) == before


def _weeks(outside: psycopg.Connection) -> set[str]:
    tables = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = ANY(%s::regclass[])"
    return {name for (name,) in outside.execute(tables, [list(TABLES)]).fetchall()}


def test_a_million_events(outside: psycopg.Connection, viewer: User) -> None:
    browser = browser_of(viewer)

    def opened(asked: dict[str, str]) -> tuple[float, bytes]:
        began = time.perf_counter()
        answer = browser.get(f"{reverse('events')}?{urlencode(asked)}")
        took = time.perf_counter() - began
        assert answer.status_code == 200
        return took, answer.content

    fill(outside, EVENTS)
    [(counted,)] = outside.execute("SELECT count(*) FROM outbox_event").fetchall()
    assert counted > EVENTS * 0.99
    # The best of some runs: others on the machine only add to it.
    for name, asked in questions(outside).items():
        answers = [opened(asked) for _ in range(RUNS)]
        assert min(took for took, _ in answers) < SECONDS, name
    assert opened({})[1].count(b"<tr ") >= 50
