"""An act says of which job it was part, and is found by it."""

from django.db import migrations, models

# Whoever waits for writers must not keep the next ones waiting.
COLUMN = """
SET lock_timeout = '5s';
ALTER TABLE outbox_act ADD COLUMN IF NOT EXISTS job_id uuid;
RESET lock_timeout;
"""
NO_COLUMN = """
SET lock_timeout = '5s';
ALTER TABLE outbox_act DROP COLUMN IF EXISTS job_id;
RESET lock_timeout;
"""
# Building it beside writers can fail half way, and leaves an index that serves nobody.
NO_INDEX = "DROP INDEX CONCURRENTLY IF EXISTS outbox_act_of_job_idx"
INDEX = """
CREATE INDEX CONCURRENTLY outbox_act_of_job_idx ON outbox_act (job_id, result, id) WHERE job_id IS NOT NULL
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("outbox", "0024_telling")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(COLUMN, NO_COLUMN)],
            state_operations=[migrations.AddField("act", "job_id", models.UUIDField(null=True))],
        ),
        migrations.RunSQL(NO_INDEX, migrations.RunSQL.noop),
        migrations.RunSQL(INDEX, NO_INDEX),
    ]
