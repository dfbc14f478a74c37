"""Jobs on dead letters have a rate, and mark the letter in hand; who began and stopped one is an act."""

from django.db import migrations, models

COLUMNS = """
ALTER TABLE outbox_repair_job
    ADD COLUMN per_second double precision CHECK (per_second > 0),
    ADD COLUMN in_hand uuid,
    ADD COLUMN in_hand_by text NOT NULL DEFAULT '',
    ADD COLUMN in_hand_at timestamptz,
    ADD COLUMN deaths smallint NOT NULL DEFAULT 0;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'stopped', 'rebuilt', 'abandoned',
        'silenced', 'unsilenced')),
    DROP CONSTRAINT outbox_act_says_why,
    ADD CONSTRAINT outbox_act_says_why CHECK ((act NOT IN ('discard', 'release') AND result <> 'skipped')
        OR why <> '' OR via = 'worker' OR result = 'stopped');
"""
NO_COLUMNS = """
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
DELETE FROM outbox_act WHERE result = 'stopped';
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'rebuilt', 'abandoned', 'silenced',
        'unsilenced')),
    DROP CONSTRAINT outbox_act_says_why,
    ADD CONSTRAINT outbox_act_says_why CHECK (
        (act NOT IN ('discard', 'release') AND result <> 'skipped') OR why <> '' OR via = 'worker');
ALTER TABLE outbox_repair_job
    DROP COLUMN per_second, DROP COLUMN in_hand, DROP COLUMN in_hand_by, DROP COLUMN in_hand_at,
    DROP COLUMN deaths;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0017_permissions")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMNS, NO_COLUMNS)],
            state_operations=[
                migrations.AddField("repairjob", "per_second", models.FloatField(null=True)),
                migrations.AddField("repairjob", "in_hand", models.UUIDField(null=True)),
                migrations.AddField("repairjob", "in_hand_by", models.TextField(default="", db_default="")),
                migrations.AddField("repairjob", "in_hand_at", models.DateTimeField(null=True)),
                migrations.AddField("repairjob", "deaths", models.SmallIntegerField(default=0, db_default=0)),
            ],
        ),
    ]
