"""For how long a record was being sent when its trace was written: nothing where a relay before this wrote it."""

from django.db import migrations, models

COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_publication ADD COLUMN sending real;
"""
NO_COLUMN = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_publication DROP COLUMN sending;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0031_follows")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[migrations.AddField("publication", "sending", models.FloatField(null=True))],
        ),
    ]
