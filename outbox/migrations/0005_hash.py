"""The hash of a key stands beside it: whoever publishes has it, and the relay need not make it again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("outbox", "0004_relays")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE outbox_event ADD hash integer", "ALTER TABLE outbox_event DROP hash"
                )
            ],
            state_operations=[
                migrations.AddField(
                    "outboxevent",
                    "hash",
                    models.IntegerField(null=True, help_text="of the key, as Kafka's partitioner makes it"),
                )
            ],
        )
    ]
