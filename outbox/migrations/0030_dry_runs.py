"""A job on dead letters may be a dry run, which says of what letters would die again."""

from django.db import migrations, models

COLUMNS = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_repair_job
    ADD COLUMN dry_run boolean NOT NULL DEFAULT false, ADD COLUMN failures jsonb NOT NULL DEFAULT '{}';
"""
NO_COLUMNS = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_repair_job DROP COLUMN dry_run, DROP COLUMN failures;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0029_heard")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMNS, NO_COLUMNS)],
            state_operations=[
                migrations.AddField(
                    "repairjob", "dry_run", models.BooleanField(default=False, db_default=False)
                ),
                migrations.AddField("repairjob", "failures", models.JSONField(default=dict, db_default={})),
            ],
        ),
    ]
