"""Partitions by time of the tables that grow: made ahead by migrate and by a periodic task."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections, router, transaction
from psycopg.errors import CheckViolation

from outbox.errors import NoPartition
from outbox.ids import lowest_id

WIDTH = timedelta(days=7)
AHEAD = timedelta(days=14)
TABLES = ("outbox_event", "outbox_publication", "outbox_inbox")

# The class of the advisory locks of this app: "obox" in ASCII.
LOCK_CLASS = 0x6F626F78
_PARTITIONS_LOCK = 1


@dataclass(frozen=True, slots=True)
class Span:
    """One partition's time, from `start` up to but without `end`."""

    start: datetime

    @property
    def end(self) -> datetime:
        return self.start + WIDTH

    def name(self, table: str) -> str:
        return f"{table}_p{self.start:%Y%m%d}"

    @classmethod
    def named(cls, name: str) -> "Span":
        """The week of a partition's name, or of its last eight digits."""
        return cls(datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC))


def spans(*, since: datetime, until: datetime) -> Iterator[Span]:
    """The weeks, from Monday 00:00 UTC, that cover `since` to `until`."""
    day = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = day - timedelta(days=day.weekday())
    while start <= until:
        yield Span(start)
        start += WIDTH


def make_partitions(*, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Make what is missing until AHEAD from now, by the database's clock; return their names.

    Weeks in which nothing ran get theirs too: an event that happened then may still come.
    Safe to run at any time and from several processes at once. Adding a partition waits for no reader
    and no publisher: CREATE, then ATTACH, takes SHARE UPDATE EXCLUSIVE on the parent alone.
    """
    made = []
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s), now()", [LOCK_CLASS, _PARTITIONS_LOCK])
        now = cursor.fetchone()[1]
        for table in TABLES:
            newest = _newest(cursor, table)
            since = now if newest is None else newest.end
            for span in spans(since=since, until=now + AHEAD):
                name = span.name(table)
                cursor.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
                cursor.execute(attaching(table, span))
                made.append(name)
        _make_inbox_past(cursor, before=_oldest(cursor, "outbox_inbox").start)
    return made


def attaching(table: str, span: Span) -> str:
    """The statement that makes a week's table a partition; DDL takes no parameters on the server."""
    bounds = f"FROM ('{lowest_id(span.start)}') TO ('{lowest_id(span.end)}')"
    return f"ALTER TABLE {table} ATTACH PARTITION {span.name(table)} FOR VALUES {bounds}"


def weeks_of(table: str, *, using: str) -> list[Span]:
    """The weeks that have a partition, the oldest first."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT substring(inhrelid::regclass::text FROM '_p([0-9]{8})$') AS day FROM pg_inherits"
            " WHERE inhparent = %s::regclass AND NOT inhdetachpending ORDER BY 1",
            [table],
        )
        days = [day for (day,) in cursor.fetchall() if day]
    return [Span.named(day) for day in days]


def _newest(cursor: Any, table: str) -> Span | None:
    """The last week that has a partition."""
    cursor.execute(
        "SELECT max(substring(inhrelid::regclass::text FROM '_p([0-9]{8})$')) FROM pg_inherits"
        " WHERE inhparent = %s::regclass",
        [table],
    )
    (day,) = cursor.fetchone()
    return None if day is None else Span.named(day)


def _oldest(cursor: Any, table: str) -> Span:
    """The first week that has a partition."""
    cursor.execute(
        "SELECT min(substring(inhrelid::regclass::text FROM '_p([0-9]{8})$')) FROM pg_inherits"
        " WHERE inhparent = %s::regclass AND NOT inhdetachpending",
        [table],
    )
    return Span.named(cursor.fetchone()[0])


def _make_inbox_past(cursor: Any, *, before: datetime) -> None:
    """Give the inbox one partition for all that happened before it existed.

    A consumer that starts on an old topic meets old events; malformed records are filed before all time. When
    an old week is dropped, pruning detaches it; here it is attached again up to the first week that is left.
    """
    cursor.execute("SELECT relispartition FROM pg_class WHERE oid = to_regclass('outbox_inbox_past')")
    found = cursor.fetchone()
    if found is None:
        cursor.execute(
            "CREATE TABLE outbox_inbox_past (LIKE outbox_inbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
        )
    if found is None or not found[0]:
        cursor.execute(
            "ALTER TABLE outbox_inbox ATTACH PARTITION outbox_inbox_past"
            f" FOR VALUES FROM (MINVALUE) TO ('{lowest_id(before)}')"
        )


def days_ahead(*, using: str = DEFAULT_DB_ALIAS) -> float:
    """For how many days partitions of every table exist from now on, by the database's clock."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT now()")
        now = cursor.fetchone()[0]
        last = None
        for span in spans(since=now, until=now + AHEAD * 2):
            cursor.execute(
                "SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) name",
                [[span.name(table) for table in TABLES]],
            )
            if not cursor.fetchone()[0]:
                break
            last = span.end
    return 0.0 if last is None else float((last - now) / timedelta(days=1))


def make_partitions_after_migrate(*, using: str, **_: Any) -> None:
    """Partitions exist as soon as the tables do (a post_migrate receiver)."""
    if router.allow_migrate(using, "outbox"):
        make_partitions(using=using)


@contextmanager
def partition_needed() -> Iterator[None]:
    """Raises NoPartition where a row that is inserted inside has none."""
    try:
        yield
    except IntegrityError as error:
        # No partition is a check violation (23514) too, the one that names no constraint.
        cause = error.__cause__
        if isinstance(cause, CheckViolation) and cause.diag.constraint_name is None:
            raise NoPartition(f"{NoPartition.__doc__} ({error})") from error
        raise
