"""The record of acts tells of consumers as a whole, too: paused, resumed, moved, and built again."""

from django.db import migrations, models

STEERING = """
ALTER TABLE outbox_act
    ADD detail text NOT NULL DEFAULT '',
    DROP CONSTRAINT outbox_act_act_check,
    ADD CONSTRAINT outbox_act_act_check CHECK (act IN ('replay', 'discard', 'release', 'resend',
        'pause', 'resume', 'seek', 'rebuild', 'abandon')),
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'nothing', 'paused', 'resumed', 'skipped', 'moved', 'rebuilt', 'abandoned')),
    DROP CONSTRAINT outbox_act_says_why,
    ADD CONSTRAINT outbox_act_says_why CHECK (
        (act NOT IN ('discard', 'release') AND result <> 'skipped') OR why <> '' OR via = 'worker');
"""
NO_STEERING = """
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
DELETE FROM outbox_act WHERE act IN ('pause', 'resume', 'seek', 'rebuild', 'abandon');
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP detail,
    DROP CONSTRAINT outbox_act_act_check,
    ADD CONSTRAINT outbox_act_act_check CHECK (act IN ('replay', 'discard', 'release', 'resend')),
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'nothing')),
    DROP CONSTRAINT outbox_act_says_why,
    ADD CONSTRAINT outbox_act_says_why CHECK (act NOT IN ('discard', 'release') OR why <> '' OR via = 'worker');
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0009_lag")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(STEERING, NO_STEERING)],
            state_operations=[
                migrations.AddField("act", "detail", models.TextField(default="", db_default=""))
            ],
        )
    ]
