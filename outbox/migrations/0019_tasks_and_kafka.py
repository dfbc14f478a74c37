"""When a periodic task last ran; and two more causes of alarms."""

from django.db import migrations, models

CAUSES = [
    ("no_relay", "No relay runs"),
    ("backlog", "The outbox is not emptied"),
    ("refused", "Kafka refused events"),
    ("no_instance", "No instance runs"),
    ("late", "Late"),
    ("falling_behind", "Falling behind"),
    ("paused_itself", "Paused itself"),
    ("paused", "Paused for long"),
    ("dead_letters", "Dead letters"),
    ("gaps", "Keys wait behind gaps"),
    ("lost", "Records were lost"),
    ("partitions", "Partitions run out"),
    ("outbox_weeks", "The outbox is not pruned"),
    ("inbox_weeks", "The inbox is not pruned"),
    ("wraparound", "Transaction ids run out"),
    ("kafka_away", "Kafka is away"),
    ("no_tasks", "Periodic tasks do not run"),
]
COLUMN = """
ALTER TABLE outbox_alarm_watch ADD COLUMN tasks_at timestamptz, ALTER COLUMN checked_at DROP NOT NULL;
CREATE INDEX outbox_alarm_of_subject_idx ON outbox_alarm (subject, id);
"""
NO_COLUMN = """
DROP INDEX outbox_alarm_of_subject_idx;
DELETE FROM outbox_alarm_watch WHERE checked_at IS NULL;
ALTER TABLE outbox_alarm_watch DROP COLUMN tasks_at, ALTER COLUMN checked_at SET NOT NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0018_jobs_at_work")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[
                migrations.AlterField("alarm", "cause", models.TextField(choices=CAUSES)),
                migrations.AlterField("watch", "checked_at", models.DateTimeField(null=True)),
                migrations.AddField("watch", "tasks_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
