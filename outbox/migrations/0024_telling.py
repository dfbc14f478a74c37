"""A notice may be for one channel alone: a new one is told what is present."""

from django.db import migrations, models

COLUMNS = """
ALTER TABLE outbox_alarm_notice ADD COLUMN channel text NOT NULL DEFAULT '';
"""
NO_COLUMNS = """
DELETE FROM outbox_alarm_notice WHERE channel <> '';
ALTER TABLE outbox_alarm_notice DROP COLUMN channel;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0021_released_keys_in_hand")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMNS, NO_COLUMNS)],
            state_operations=[
                migrations.AddField("notice", "channel", models.TextField(default="", db_default="")),
            ],
        ),
    ]
