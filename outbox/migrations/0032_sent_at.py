"""When a relay began to send an event: nothing where an earlier release did."""

from django.db import migrations, models

COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_publication ADD COLUMN sent_at timestamptz;
"""
NO_COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_publication DROP COLUMN sent_at;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0031_follows")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[migrations.AddField("publication", "sent_at", models.DateTimeField(null=True))],
        ),
    ]
