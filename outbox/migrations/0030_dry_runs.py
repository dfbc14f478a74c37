"""A job on dead letters may be a dry run, which says of what letters would die again.

It is an act of its own: a worker of an earlier version says that it does not know it, and does nothing.
"""

from django.db import migrations, models

COLUMNS = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_repair_job
    ADD COLUMN failures jsonb NOT NULL DEFAULT '{}',
    DROP CONSTRAINT outbox_repair_job_act_check,
    ADD CONSTRAINT outbox_repair_job_act_check CHECK (act IN ('replay', 'dry_run', 'discard'));
"""
NO_COLUMNS = """
SET LOCAL lock_timeout = '5s';
DELETE FROM outbox_repair_job WHERE act = 'dry_run';
ALTER TABLE outbox_repair_job
    DROP COLUMN failures,
    DROP CONSTRAINT outbox_repair_job_act_check,
    ADD CONSTRAINT outbox_repair_job_act_check CHECK (act IN ('replay', 'discard'));
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0029_heard")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMNS, NO_COLUMNS)],
            state_operations=[
                migrations.AddField("repairjob", "failures", models.JSONField(default=dict, db_default={})),
            ],
        ),
    ]
