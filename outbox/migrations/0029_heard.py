"""From where on a channel has heard of alarms."""

from django.db import migrations, models

COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm_channel ADD COLUMN begun_after bigint NOT NULL DEFAULT 0;
"""
NO_COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm_channel DROP COLUMN begun_after;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0028_inbox_index")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[
                migrations.AddField(
                    "channel", "begun_after", models.BigIntegerField(default=0, db_default=0)
                ),
            ],
        ),
    ]
