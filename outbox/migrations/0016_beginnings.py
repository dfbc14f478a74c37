"""Which topics a consumer has read from their first record on."""

from django.db import migrations, models

TABLE = """
CREATE TABLE outbox_topic_beginning (
    consumer text NOT NULL,
    generation smallint NOT NULL,
    topic text NOT NULL,
    is_whole boolean NOT NULL,
    PRIMARY KEY (consumer, generation, topic)
);
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0015_alerts")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLE, "DROP TABLE outbox_topic_beginning")],
            state_operations=[
                migrations.CreateModel(
                    name="TopicBeginning",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "consumer", "generation", "topic", primary_key=True, serialize=False
                            ),
                        ),
                        ("consumer", models.TextField()),
                        ("generation", models.SmallIntegerField()),
                        ("topic", models.TextField()),
                        ("is_whole", models.BooleanField()),
                    ],
                    options={"db_table": "outbox_topic_beginning"},
                ),
            ],
        ),
    ]
