"""What people are told: a new channel of what is present, all of what has grown, and since when there is a watch."""

from django.db import migrations, models
from django.db.models.functions import Now

COLUMNS = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm_notice ADD COLUMN channel text NOT NULL DEFAULT '';
ALTER TABLE outbox_alarm
    ADD COLUMN many integer NOT NULL DEFAULT 0, ADD COLUMN told_many integer NOT NULL DEFAULT 0;
ALTER TABLE outbox_alarm_watch ADD COLUMN begun_at timestamptz NOT NULL DEFAULT clock_timestamp();
INSERT INTO outbox_alarm_watch DEFAULT VALUES ON CONFLICT DO NOTHING;
"""
NO_COLUMNS = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm_watch DROP COLUMN begun_at;
ALTER TABLE outbox_alarm DROP COLUMN many, DROP COLUMN told_many;
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
                migrations.AddField("alarm", "many", models.IntegerField(default=0, db_default=0)),
                migrations.AddField("alarm", "told_many", models.IntegerField(default=0, db_default=0)),
                migrations.AddField("watch", "begun_at", models.DateTimeField(db_default=Now())),
            ],
        ),
    ]
