"""Acts on many dead letters as jobs of workers; permissions of their own for acts; lists found by index."""

from django.db import migrations, models
from django.db.models.functions import Now

import outbox.models

TABLES = """
CREATE TABLE outbox_repair_job (
    id uuid PRIMARY KEY,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL CHECK (who <> ''),
    via text NOT NULL,
    why text NOT NULL,
    act text NOT NULL CHECK (act IN ('replay', 'discard')),
    late boolean NOT NULL,
    wanted jsonb NOT NULL,
    total integer NOT NULL,
    more boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'stopped')),
    results jsonb NOT NULL,
    ran integer NOT NULL,
    after_died timestamptz,
    after_id uuid,
    trouble text NOT NULL,
    worked_at timestamptz,
    ended_at timestamptz,
    ended_by text NOT NULL,
    CONSTRAINT outbox_repair_job_ends_at_a_time CHECK ((state = 'running') = (ended_at IS NULL)),
    CONSTRAINT outbox_repair_job_says_why CHECK (act <> 'discard' OR why <> '')
);
CREATE INDEX outbox_repair_job_running_idx ON outbox_repair_job (worked_at NULLS FIRST, id) WHERE state = 'running';

-- In the order of their lists, those of one state together.
CREATE INDEX outbox_dead_letter_latest_idx ON outbox_dead_letter (state, died_at, id);
CREATE INDEX outbox_dead_letter_died_idx ON outbox_dead_letter (died_at, id);
CREATE INDEX outbox_dead_letter_of_consumer_idx ON outbox_dead_letter (consumer, state, died_at, id);
CREATE INDEX outbox_dead_letter_of_cause_idx ON outbox_dead_letter (cause, state, died_at, id);
-- Texts of others may be too long for a tree: a hash finds what is rare, and the order above what is not.
CREATE INDEX outbox_dead_letter_of_type_idx ON outbox_dead_letter USING hash (type);
CREATE INDEX outbox_dead_letter_of_key_idx ON outbox_dead_letter (key, state, died_at, id);
CREATE INDEX outbox_dead_letter_of_fingerprint_idx ON outbox_dead_letter (fingerprint, state, died_at, id);
DROP INDEX outbox_dead_letter_open_idx, outbox_dead_letter_key_idx, outbox_dead_letter_fingerprint_idx;
CREATE INDEX outbox_parked_key_latest_idx ON outbox_parked_key (parked_at, id);
CREATE INDEX outbox_parked_key_of_consumer_idx ON outbox_parked_key (consumer, parked_at, id);
CREATE INDEX outbox_parked_key_of_key_idx ON outbox_parked_key (key);
CREATE INDEX outbox_parked_key_of_event_idx ON outbox_parked_key (event_id);
CREATE INDEX outbox_waiting_event_of_key_idx ON outbox_waiting_event (key);
CREATE INDEX outbox_waiting_event_of_event_idx ON outbox_waiting_event (event_id);
CREATE INDEX outbox_refusal_latest_idx ON outbox_refusal (refused_at, event_id);
CREATE INDEX outbox_refusal_of_key_idx ON outbox_refusal (key);
CREATE INDEX outbox_discarded_event_of_consumer_idx ON outbox_discarded_event (consumer, id);
CREATE INDEX outbox_discarded_event_of_event_idx ON outbox_discarded_event (event_id);
CREATE INDEX outbox_act_of_who_idx ON outbox_act USING hash (who);
CREATE INDEX outbox_act_of_act_idx ON outbox_act (act, id);
CREATE INDEX outbox_act_of_consumer_idx ON outbox_act (consumer, id);

ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'rebuilt', 'abandoned'));
"""
NO_TABLES = """
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
UPDATE outbox_act SET result = 'nothing' WHERE result = 'asked';
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'nothing', 'paused', 'resumed', 'skipped', 'moved', 'rebuilt', 'abandoned'));
DROP INDEX outbox_act_of_who_idx, outbox_act_of_act_idx, outbox_act_of_consumer_idx,
    outbox_discarded_event_of_consumer_idx, outbox_discarded_event_of_event_idx, outbox_refusal_latest_idx,
    outbox_refusal_of_key_idx, outbox_waiting_event_of_key_idx, outbox_waiting_event_of_event_idx,
    outbox_parked_key_latest_idx, outbox_parked_key_of_consumer_idx, outbox_parked_key_of_key_idx,
    outbox_parked_key_of_event_idx, outbox_dead_letter_latest_idx, outbox_dead_letter_died_idx,
    outbox_dead_letter_of_consumer_idx, outbox_dead_letter_of_cause_idx, outbox_dead_letter_of_type_idx,
    outbox_dead_letter_of_key_idx, outbox_dead_letter_of_fingerprint_idx;
CREATE INDEX outbox_dead_letter_open_idx ON outbox_dead_letter (consumer, died_at) WHERE state = 'open';
CREATE INDEX outbox_dead_letter_key_idx ON outbox_dead_letter (key, topic) WHERE state = 'open';
CREATE INDEX outbox_dead_letter_fingerprint_idx ON outbox_dead_letter (fingerprint) WHERE state = 'open';
DROP TABLE outbox_repair_job;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0012_received")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES, NO_TABLES)],
            state_operations=[
                migrations.CreateModel(
                    name="RepairJob",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=outbox.models.fresh_id, primary_key=True, serialize=False
                            ),
                        ),
                        ("asked_at", models.DateTimeField(db_default=Now())),
                        ("who", models.TextField()),
                        ("via", models.TextField()),
                        ("why", models.TextField()),
                        ("act", models.TextField()),
                        ("late", models.BooleanField(default=False)),
                        ("wanted", models.JSONField()),
                        ("total", models.IntegerField()),
                        ("more", models.BooleanField()),
                        (
                            "state",
                            models.TextField(
                                choices=[("running", "Running"), ("done", "Done"), ("stopped", "Stopped")],
                                default="running",
                            ),
                        ),
                        ("results", models.JSONField(default=dict)),
                        ("ran", models.IntegerField(default=0)),
                        ("after_died", models.DateTimeField(null=True)),
                        ("after_id", models.UUIDField(null=True)),
                        ("trouble", models.TextField(default="")),
                        ("worked_at", models.DateTimeField(null=True)),
                        ("ended_at", models.DateTimeField(null=True)),
                        ("ended_by", models.TextField(default="")),
                    ],
                    options={
                        "db_table": "outbox_repair_job",
                        "default_permissions": ("view",),
                        "verbose_name": "job on dead letters",
                        "verbose_name_plural": "jobs on dead letters",
                    },
                ),
                migrations.AlterModelOptions(
                    "deadletter",
                    {
                        "permissions": [
                            ("replay_deadletter", "Can replay dead letters"),
                            ("discard_deadletter", "Can discard dead letters"),
                        ]
                    },
                ),
                migrations.AlterModelOptions("act", {"default_permissions": ("view",)}),
                migrations.AlterModelOptions(
                    "refusal",
                    {
                        "permissions": [
                            ("resend_refusal", "Can have refused events sent again"),
                            ("discard_refusal", "Can discard refused events"),
                        ]
                    },
                ),
                migrations.AlterModelOptions(
                    "consumerstate",
                    {
                        "verbose_name": "consumer",
                        "permissions": [("steer_consumer", "Can pause and resume consumers")],
                    },
                ),
            ],
        ),
        # Not managed: it is listed by the id that it has had since 0007.
        migrations.DeleteModel("ParkedKeyListing"),
        migrations.CreateModel(
            name="ParkedKeyListing",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField()),
                ("consumer", models.TextField()),
                ("generation", models.SmallIntegerField()),
                ("topic", models.TextField()),
                ("key", models.TextField()),
                ("cause", models.TextField()),
                ("parked_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "parked key",
                "db_table": "outbox_parked_key",
                "abstract": False,
                "managed": False,
                "default_permissions": ("view",),
                "permissions": [("release_parkedkey", "Can release parked keys")],
            },
        ),
    ]
