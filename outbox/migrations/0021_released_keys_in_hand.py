"""Workers mark the event at which they begin to go on with a released key."""

from django.db import migrations, models

# Consumers append to the table all the time: whoever waits for them must not keep the next ones waiting.
COLUMNS = """
SET LOCAL lock_timeout = '5s';
ALTER TABLE outbox_parked_key
    ADD COLUMN in_hand uuid,
    ADD COLUMN in_hand_by text NOT NULL DEFAULT '',
    ADD COLUMN in_hand_at timestamptz,
    ADD COLUMN deaths smallint NOT NULL DEFAULT 0,
    ADD COLUMN suspects integer NOT NULL DEFAULT 0;
"""
NO_COLUMNS = """
ALTER TABLE outbox_parked_key
    DROP COLUMN in_hand, DROP COLUMN in_hand_by, DROP COLUMN in_hand_at, DROP COLUMN deaths,
    DROP COLUMN suspects;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0020_pending_acts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMNS, NO_COLUMNS)],
            state_operations=[
                migrations.AddField("parkedkey", "in_hand", models.UUIDField(null=True)),
                migrations.AddField("parkedkey", "in_hand_by", models.TextField(default="", db_default="")),
                migrations.AddField("parkedkey", "in_hand_at", models.DateTimeField(null=True)),
                migrations.AddField("parkedkey", "deaths", models.SmallIntegerField(default=0, db_default=0)),
                migrations.AlterModelOptions("loststretch", {"verbose_name_plural": "lost stretches"}),
                migrations.AddField("parkedkey", "suspects", models.IntegerField(default=0, db_default=0)),
            ],
        ),
    ]
