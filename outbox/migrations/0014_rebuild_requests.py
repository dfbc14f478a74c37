"""Rebuilds that are asked for on a page: what is wanted, how far it has come, and what has stopped it."""

from django.db import migrations, models
from django.db.models.functions import Now

# Rewritten once a second while it is under way.
TABLE = """
CREATE TABLE outbox_rebuild (
    consumer text PRIMARY KEY,
    generation smallint NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    asked_by text NOT NULL CHECK (asked_by <> ''),
    why text NOT NULL,
    via text NOT NULL,
    drop_history boolean NOT NULL DEFAULT false,
    read bigint NOT NULL DEFAULT 0,
    records bigint,
    per_second double precision,
    told_at timestamptz,
    note text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE INDEX outbox_act_steering_idx ON outbox_act (consumer, id) WHERE topic = '';
"""
NO_TABLE = """
DROP TABLE outbox_rebuild;
DROP INDEX outbox_act_steering_idx;
"""
BEGUN = """
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'rebuilt', 'abandoned'));
"""
NOT_BEGUN = """
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
DELETE FROM outbox_act WHERE result = 'begun';
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'rebuilt', 'abandoned'));
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0013_repair_jobs")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE, NO_TABLE), migrations.RunSQL(BEGUN, NOT_BEGUN)],
            state_operations=[
                migrations.CreateModel(
                    name="RebuildRequest",
                    fields=[
                        ("consumer", models.TextField(primary_key=True, serialize=False)),
                        ("generation", models.SmallIntegerField()),
                        ("asked_at", models.DateTimeField(db_default=Now())),
                        ("asked_by", models.TextField()),
                        ("why", models.TextField()),
                        ("via", models.TextField()),
                        ("drop_history", models.BooleanField(default=False, db_default=False)),
                        ("read", models.BigIntegerField(default=0, db_default=0)),
                        ("records", models.BigIntegerField(null=True)),
                        ("per_second", models.FloatField(null=True)),
                        ("told_at", models.DateTimeField(null=True)),
                        ("note", models.TextField(default="", db_default="")),
                        ("error", models.TextField(default="", db_default="")),
                    ],
                    options={"db_table": "outbox_rebuild"},
                ),
            ],
        )
    ]
