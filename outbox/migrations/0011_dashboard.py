"""Operators act through the dashboard, too."""

from django.db import migrations

DOORS = """
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_via_check,
    ADD CONSTRAINT outbox_act_via_check CHECK (
        via IN ('rest', 'admin', 'dashboard', 'command', 'python', 'worker'));
"""
FEWER_DOORS = """
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
UPDATE outbox_act SET via = 'rest' WHERE via = 'dashboard';
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_via_check,
    ADD CONSTRAINT outbox_act_via_check CHECK (via IN ('rest', 'admin', 'command', 'python', 'worker'));
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0010_steering")]

    operations = [migrations.RunSQL(DOORS, FEWER_DOORS)]
