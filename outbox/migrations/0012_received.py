"""When a consumer had read an event: what it waited for in Kafka is known apart from what its effect took."""

from django.db import migrations, models

# Rows that are there have none; adding a column without a default rewrites nothing. The partition of all past is
# no partition while old weeks are being pruned.
ADD = """
ALTER TABLE outbox_inbox ADD received_at timestamptz;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('outbox_inbox_past') AND NOT relispartition) THEN
        ALTER TABLE outbox_inbox_past ADD IF NOT EXISTS received_at timestamptz;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0011_dashboard")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(ADD, "ALTER TABLE outbox_inbox DROP received_at")],
            state_operations=[
                migrations.AddField("inboxentry", "received_at", models.DateTimeField(null=True)),
            ],
        )
    ]
