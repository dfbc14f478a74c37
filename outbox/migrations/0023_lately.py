"""Indexes by which what was sent lately, and what each consumer did lately, is found, built while others write;
and samples of lag that was not known.
"""

from collections.abc import Callable
from typing import Any

from django.db import migrations, models, transaction

# Those partitions of a table that have no part of its index yet: a partition that is made later gets its own.
_WITHOUT = """
SELECT part.inhrelid::regclass::text FROM pg_inherits AS part
WHERE part.inhparent = %s::regclass AND NOT part.inhdetachpending AND NOT EXISTS (
    SELECT FROM pg_inherits AS of_index JOIN pg_index ON indexrelid = of_index.inhrelid
    WHERE of_index.inhparent = %s::regclass AND indrelid = part.inhrelid)
ORDER BY 1
"""

INDEXES = {
    "published": ("outbox_publication", "published_at"),
    "lately": ("outbox_inbox", "consumer, processed_at"),
    "processed_at": ("outbox_inbox", "processed_at"),
}


NOT_KNOWN = """
SET lock_timeout = '5s';
ALTER TABLE outbox_lag_sample ALTER events DROP NOT NULL, ALTER seconds DROP NOT NULL;
RESET lock_timeout;
"""
KNOWN = """
DELETE FROM outbox_lag_sample WHERE events IS NULL OR seconds IS NULL;
ALTER TABLE outbox_lag_sample ALTER events SET NOT NULL, ALTER seconds SET NOT NULL;
"""


def make(which: str) -> Callable[[Any, Any], None]:
    """Build an index partition by partition: PostgreSQL builds none of a whole partitioned table beside writers.

    Can be run again after it failed half way.
    """
    table, columns = INDEXES[which]
    index = f"{table}_{which}_idx"

    def run(apps: Any, schema_editor: Any) -> None:
        connection = schema_editor.connection
        with connection.cursor() as sql:
            with transaction.atomic(using=connection.alias):
                # Whoever waits for writers must not keep the next ones waiting.
                sql.execute("SET LOCAL lock_timeout = '5s'")
                sql.execute(f"CREATE INDEX IF NOT EXISTS {index} ON ONLY {table} ({columns})")
            sql.execute(_WITHOUT, [table, index])
            for (partition,) in sql.fetchall():
                part = f"{partition}_{which}_idx"
                # A part that failed half way serves nobody.
                sql.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {part}")
                sql.execute(f"CREATE INDEX CONCURRENTLY {part} ON {partition} ({columns})")
                sql.execute(f"ALTER INDEX {index} ATTACH PARTITION {part}")

    return run


def without(which: str) -> str:
    """How to be rid of it. It locks the table: for that it waits no longer than on the way here."""
    index = f"{INDEXES[which][0]}_{which}_idx"
    return f"SET lock_timeout = '5s'; DROP INDEX IF EXISTS {index}; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("outbox", "0022_open_causes")]

    operations = [
        migrations.RunPython(make("published"), migrations.RunPython.noop),
        migrations.RunSQL(migrations.RunSQL.noop, without("published")),
        migrations.RunPython(make("lately"), migrations.RunPython.noop),
        migrations.RunSQL(migrations.RunSQL.noop, without("lately")),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(NOT_KNOWN, KNOWN)],
            state_operations=[
                migrations.AlterField("lagsample", "events", models.BigIntegerField(null=True)),
                migrations.AlterField("lagsample", "seconds", models.FloatField(null=True)),
            ],
        ),
    ]
