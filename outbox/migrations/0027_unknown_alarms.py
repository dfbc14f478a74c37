"""Since when nobody knows whether an alarm still holds."""

from django.db import migrations, models

COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm ADD COLUMN unknown_since timestamptz;
"""
NO_COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_alarm DROP COLUMN unknown_since;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0026_commands")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[
                migrations.AddField("alarm", "unknown_since", models.DateTimeField(null=True)),
            ],
        ),
    ]
