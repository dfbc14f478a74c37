"""How far every consumer has come, by which instance; and what that was at which time."""

from django.db import migrations, models
from django.db.models.functions import Now

# Each instance rewrites its rows about once a second: half of each page is kept free for that.
TABLES = """
CREATE TABLE outbox_consumer_member (
    consumer text,
    name text,
    partitions jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, name)
) WITH (fillfactor = 50);
CREATE TABLE outbox_consumer_position (
    consumer text,
    topic text,
    partition integer,
    reached bigint NOT NULL,
    occurred_at timestamptz,
    processed_at timestamptz,
    clear_until timestamptz,
    reported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, topic, partition)
) WITH (fillfactor = 50);
CREATE TABLE outbox_partition_end (
    topic text,
    partition integer,
    next_offset bigint NOT NULL,
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
CREATE TABLE outbox_lag_sample (
    consumer text,
    at timestamptz,
    events bigint NOT NULL,
    seconds double precision NOT NULL,
    delay double precision,
    produced bigint NOT NULL,
    processed bigint NOT NULL,
    members smallint NOT NULL,
    PRIMARY KEY (consumer, at)
);
CREATE TABLE outbox_consumer_alarm (
    consumer text,
    cause text CHECK (cause IN ('late', 'falling_behind')),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, cause)
);
"""
NO_TABLES = """
DROP TABLE outbox_consumer_member, outbox_consumer_position, outbox_partition_end, outbox_lag_sample,
    outbox_consumer_alarm;
"""


def key(*fields: str) -> models.CompositePrimaryKey:
    return models.CompositePrimaryKey(*fields, blank=True, editable=False, primary_key=True, serialize=False)


class Migration(migrations.Migration):
    dependencies = [("outbox", "0008_strategies")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TABLES, NO_TABLES)],
            state_operations=[
                migrations.CreateModel(
                    name="Member",
                    fields=[
                        ("pk", key("consumer", "name")),
                        ("consumer", models.TextField()),
                        ("name", models.TextField(help_text="host:pid, as Kafka knows it")),
                        ("partitions", models.JSONField()),
                        ("started_at", models.DateTimeField(db_default=Now())),
                        ("seen_at", models.DateTimeField(db_default=Now())),
                    ],
                    options={"db_table": "outbox_consumer_member"},
                ),
                migrations.CreateModel(
                    name="Position",
                    fields=[
                        ("pk", key("consumer", "topic", "partition")),
                        ("consumer", models.TextField()),
                        ("topic", models.TextField()),
                        ("partition", models.IntegerField()),
                        ("reached", models.BigIntegerField()),
                        ("occurred_at", models.DateTimeField(null=True)),
                        ("processed_at", models.DateTimeField(null=True)),
                        ("clear_until", models.DateTimeField(null=True)),
                        ("reported_at", models.DateTimeField(db_default=Now())),
                    ],
                    options={"db_table": "outbox_consumer_position"},
                ),
                migrations.CreateModel(
                    name="PartitionEnd",
                    fields=[
                        ("pk", key("topic", "partition")),
                        ("topic", models.TextField()),
                        ("partition", models.IntegerField()),
                        ("next_offset", models.BigIntegerField()),
                        ("told_at", models.DateTimeField(db_default=Now())),
                    ],
                    options={"db_table": "outbox_partition_end"},
                ),
                migrations.CreateModel(
                    name="LagSample",
                    fields=[
                        ("pk", key("consumer", "at")),
                        ("consumer", models.TextField()),
                        ("at", models.DateTimeField()),
                        ("events", models.BigIntegerField()),
                        ("seconds", models.FloatField()),
                        ("delay", models.FloatField(null=True)),
                        ("produced", models.BigIntegerField()),
                        ("processed", models.BigIntegerField()),
                        ("members", models.SmallIntegerField()),
                    ],
                    options={"db_table": "outbox_lag_sample"},
                ),
                migrations.CreateModel(
                    name="Alarm",
                    fields=[
                        ("pk", key("consumer", "cause")),
                        ("consumer", models.TextField()),
                        (
                            "cause",
                            models.TextField(
                                choices=[("late", "Late"), ("falling_behind", "Falling Behind")]
                            ),
                        ),
                        ("since", models.DateTimeField(db_default=Now())),
                    ],
                    options={"db_table": "outbox_consumer_alarm"},
                ),
            ],
        )
    ]
