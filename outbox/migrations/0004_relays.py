"""Relays that share the shards; and the index by which late commits are read page by page."""

from django.db import migrations, models
from django.db.models.functions import Now

RELAYS = """
CREATE TABLE outbox_relay (
    owner text PRIMARY KEY,
    expires_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
DROP INDEX outbox_event_txid_idx;
CREATE INDEX outbox_event_txid_idx ON outbox_event (txid, position);
ALTER TABLE outbox_refusal ADD requested_at timestamptz, ADD discarded text NOT NULL DEFAULT '';
CREATE INDEX outbox_refusal_requested_idx ON outbox_refusal (requested_at) WHERE requested_at IS NOT NULL;
"""
NO_RELAYS = """
DROP INDEX outbox_event_txid_idx;
CREATE INDEX outbox_event_txid_idx ON outbox_event (txid);
DROP TABLE outbox_relay;
ALTER TABLE outbox_refusal DROP requested_at, DROP discarded;
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0003_generations")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(RELAYS, NO_RELAYS)],
            state_operations=[
                migrations.CreateModel(
                    name="RelayMember",
                    fields=[
                        ("owner", models.TextField(primary_key=True, serialize=False)),
                        ("expires_at", models.DateTimeField()),
                        ("started_at", models.DateTimeField(db_default=Now())),
                    ],
                    options={"db_table": "outbox_relay"},
                ),
                migrations.AddField("refusal", "requested_at", models.DateTimeField(null=True)),
                migrations.AddField("refusal", "discarded", models.TextField(default="", db_default="")),
            ],
        )
    ]
