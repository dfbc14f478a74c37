"""A notice may be for one channel alone: a new one is told what is present. Since when there is anything to watch."""

from django.db import migrations, models
from django.db.models.functions import Now

COLUMNS = """
ALTER TABLE outbox_alarm_notice ADD COLUMN channel text NOT NULL DEFAULT '';
ALTER TABLE outbox_alarm_watch ADD COLUMN begun_at timestamptz NOT NULL DEFAULT clock_timestamp();
INSERT INTO outbox_alarm_watch DEFAULT VALUES ON CONFLICT DO NOTHING;
"""
NO_COLUMNS = """
ALTER TABLE outbox_alarm_watch DROP COLUMN begun_at;
DELETE FROM outbox_alarm_notice WHERE channel <> '';
ALTER TABLE outbox_alarm_notice DROP COLUMN channel;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0023_lately")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMNS, NO_COLUMNS)],
            state_operations=[
                migrations.AddField("notice", "channel", models.TextField(default="", db_default="")),
                migrations.AddField("watch", "begun_at", models.DateTimeField(db_default=Now())),
            ],
        ),
    ]
