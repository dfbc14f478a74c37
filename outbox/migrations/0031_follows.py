"""From which cause an alarm follows, if it does."""

from django.db import migrations, models

COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm ADD COLUMN follows text NOT NULL DEFAULT '';
"""
NO_COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm DROP COLUMN follows;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0030_dry_runs")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[
                migrations.AddField("alarm", "follows", models.TextField(default="", db_default="")),
            ],
        ),
    ]
