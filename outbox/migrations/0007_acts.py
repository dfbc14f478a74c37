"""What operators do about what could not be processed: settled dead letters, released keys, and the record."""

from django.db import migrations, models
from django.db.models.functions import Now

import outbox.models

ACTS = """
ALTER TABLE outbox_dead_letter
    ADD state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    ADD settled_at timestamptz,
    ADD correction bytea,
    ADD CONSTRAINT outbox_dead_letter_is_settled_at_a_time CHECK ((state = 'open') = (settled_at IS NULL));
CREATE INDEX outbox_dead_letter_open_idx ON outbox_dead_letter (consumer, died_at) WHERE state = 'open';
CREATE INDEX outbox_dead_letter_key_idx ON outbox_dead_letter (key, topic) WHERE state = 'open';
CREATE INDEX outbox_dead_letter_fingerprint_idx ON outbox_dead_letter (fingerprint) WHERE state = 'open';

ALTER TABLE outbox_parked_key
    ADD id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    DROP CONSTRAINT outbox_parked_key_cause_check,
    ADD CONSTRAINT outbox_parked_key_cause_check CHECK (cause IN ('dead_letter', 'gap', 'released'));
CREATE INDEX outbox_parked_key_released_idx ON outbox_parked_key (consumer) WHERE cause = 'released';

CREATE TABLE outbox_act (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who text NOT NULL CHECK (who <> ''),
    via text NOT NULL CHECK (via IN ('rest', 'admin', 'command', 'python', 'worker')),
    act text NOT NULL CHECK (act IN ('replay', 'discard', 'release', 'resend')),
    why text NOT NULL,
    consumer text NOT NULL,
    generation smallint,
    letter_id uuid,
    event_id uuid,
    topic text NOT NULL,
    key text,
    result text NOT NULL CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent', 'nothing')),
    error text NOT NULL,
    correction bytea,
    ran integer NOT NULL,
    waiting integer NOT NULL,
    CONSTRAINT outbox_act_says_why CHECK (act NOT IN ('discard', 'release') OR why <> '' OR via = 'worker')
);
CREATE INDEX outbox_act_letter_idx ON outbox_act (letter_id, id);
CREATE INDEX outbox_act_event_idx ON outbox_act (event_id);
CREATE INDEX outbox_act_key_idx ON outbox_act (key, id);

CREATE FUNCTION outbox_act_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'outbox_act is append-only: what was done was done';
END $$;
CREATE TRIGGER outbox_act_append_only BEFORE UPDATE OR DELETE ON outbox_act
    FOR EACH ROW EXECUTE FUNCTION outbox_act_is_append_only();
"""
NO_ACTS = """
DROP TABLE outbox_act;
DROP FUNCTION outbox_act_is_append_only;
UPDATE outbox_parked_key SET cause = 'dead_letter' WHERE cause = 'released';
DROP INDEX outbox_parked_key_released_idx;
ALTER TABLE outbox_parked_key
    DROP id,
    DROP CONSTRAINT outbox_parked_key_cause_check,
    ADD CONSTRAINT outbox_parked_key_cause_check CHECK (cause IN ('dead_letter', 'gap'));
DELETE FROM outbox_dead_letter WHERE state <> 'open';
ALTER TABLE outbox_dead_letter DROP state, DROP settled_at, DROP correction;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0006_origin")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ACTS, NO_ACTS)],
            state_operations=[
                migrations.AlterField(
                    "deadletter",
                    "id",
                    models.UUIDField(default=outbox.models.fresh_id, primary_key=True, serialize=False),
                ),
                migrations.AddField(
                    "deadletter",
                    "state",
                    models.TextField(
                        choices=[("open", "Open"), ("replayed", "Replayed"), ("discarded", "Discarded")],
                        default="open",
                        db_default="open",
                    ),
                ),
                migrations.AddField("deadletter", "settled_at", models.DateTimeField(null=True)),
                migrations.AddField("deadletter", "correction", models.BinaryField(null=True)),
                migrations.AddField(
                    "parkedkey", "id", models.UUIDField(default=outbox.models.fresh_id, unique=True)
                ),
                migrations.AlterField(
                    "parkedkey",
                    "cause",
                    models.TextField(
                        choices=[("dead_letter", "Dead Letter"), ("gap", "Gap"), ("released", "Released")]
                    ),
                ),
                migrations.CreateModel(
                    name="Act",
                    fields=[
                        (
                            "id",
                            models.UUIDField(
                                default=outbox.models.fresh_id, primary_key=True, serialize=False
                            ),
                        ),
                        (
                            "at",
                            models.DateTimeField(db_default=Now()),
                        ),
                        ("who", models.TextField()),
                        ("via", models.TextField()),
                        ("act", models.TextField()),
                        ("why", models.TextField()),
                        ("consumer", models.TextField()),
                        ("generation", models.SmallIntegerField(null=True)),
                        ("letter_id", models.UUIDField(null=True)),
                        ("event_id", models.UUIDField(null=True)),
                        ("topic", models.TextField()),
                        ("key", models.TextField(null=True)),
                        ("result", models.TextField()),
                        ("error", models.TextField()),
                        ("correction", models.BinaryField(null=True)),
                        ("ran", models.IntegerField()),
                        ("waiting", models.IntegerField()),
                    ],
                    options={"db_table": "outbox_act"},
                ),
            ],
        )
    ]
