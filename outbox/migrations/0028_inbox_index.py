"""The inbox has no index of the time alone: of the bytes that a row writes to the log it took a sixth, for one
list of the admin.
"""

from importlib import import_module

from django.db import migrations

lately = import_module("outbox.migrations.0023_lately")

# It locks the table: whoever waits for writers must not keep the next ones waiting. The partition of all past is
# none while old weeks are being pruned.
NO_INDEX = """
SET lock_timeout = '5s';
DROP INDEX IF EXISTS outbox_inbox_processed_at_idx;
DROP INDEX IF EXISTS outbox_inbox_past_processed_at_idx;
RESET lock_timeout;
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("outbox", "0027_unknown_alarms")]

    operations = [
        migrations.RunSQL(NO_INDEX, migrations.RunSQL.noop),
        migrations.RunPython(migrations.RunPython.noop, lately.make("processed_at")),
    ]
