"""Partitions exist ahead of time, made by migrate and by a task, by several at once."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import call_command
from django.db import connection

from outbox.partitions import AHEAD, TABLES, WIDTH, days_ahead, make_partitions, spans
from tests.engine import Writer

pytestmark = pytest.mark.django_db(transaction=True)


def partitions(table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table]
        )
        return {name for (name,) in cursor.fetchall()}


def test_migrate_makes_them_for_two_weeks() -> None:
    for table in TABLES:
        assert len(partitions(table) - {"outbox_inbox_past"}) in {3, 4}
    assert "outbox_inbox_past" in partitions("outbox_inbox")
    assert days_ahead() >= AHEAD / timedelta(days=1)


def test_making_them_again_changes_nothing() -> None:
    before = {table: partitions(table) for table in TABLES}
    assert make_partitions() == []
    out = StringIO()
    call_command("outbox_partitions", stdout=out)
    assert "Partitions exist for the next" in out.getvalue()
    assert {table: partitions(table) for table in TABLES} == before


def test_missing_ones_are_made_once_by_several_at_once() -> None:
    last = max(partitions("outbox_event"))
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {last}")
    with Writer() as one, Writer() as two:
        one.call(make_partitions, wait=False)
        made = two.call(make_partitions)
        one.call(lambda: None)
    assert made in ([], [last])
    assert last in partitions("outbox_event")


def test_weeks_in_which_nothing_ran_leave_no_hole() -> None:
    """As after a pause of two weeks: what exists ends in the past of what is needed."""
    names = sorted(partitions("outbox_inbox") - {"outbox_inbox_past"})
    with connection.cursor() as cursor:
        for name in names[1:]:
            cursor.execute(f"DROP TABLE {name}")
    assert make_partitions() == names[1:]
    assert sorted(partitions("outbox_inbox") - {"outbox_inbox_past"}) == names


def test_adding_one_waits_for_no_open_publisher() -> None:
    """ATTACH takes a lock that lets writers go on; a publisher's open transaction does not hold it up."""
    last = max(partitions("outbox_event"))
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {last}")
    with Writer() as holder, Writer() as maker:
        holder.begin()
        holder.execute("SELECT count(*) FROM outbox_event")
        maker.execute("SET lock_timeout = '5s'")
        assert maker.call(make_partitions) == [last]


def test_weeks_start_on_monday_and_leave_no_hole() -> None:
    weeks = list(
        spans(since=datetime(2026, 11, 24, 15, tzinfo=UTC), until=datetime(2026, 12, 20, tzinfo=UTC))
    )
    assert weeks[0].start == datetime(2026, 11, 23, tzinfo=UTC)
    assert all(one.end == two.start for one, two in pairwise(weeks))
    assert weeks[-1].end >= datetime(2026, 12, 20, tzinfo=UTC)
    assert weeks[0].name("outbox_event") == "outbox_event_p20261123"
    assert timedelta(days=7) == WIDTH
