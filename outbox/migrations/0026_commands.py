"""The record of acts tells of the project's own commands, too, whose names the engine does not know.

The way back deletes the acts of such commands: the earlier table has no place for them. Export them before.
"""

from django.db import migrations

# What is there fits: it is looked at beside writers, afterwards.
COMMANDS = """
SET lock_timeout = '5s';
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_act_check,
    ADD CONSTRAINT outbox_act_act_check CHECK (act <> '') NOT VALID,
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'pending', 'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'stopped', 'rebuilt',
        'abandoned', 'silenced', 'unsilenced', 'done')) NOT VALID;
RESET lock_timeout;
"""
VALID = """
ALTER TABLE outbox_act
    VALIDATE CONSTRAINT outbox_act_act_check, VALIDATE CONSTRAINT outbox_act_result_check
"""
NO_COMMANDS = """
SET lock_timeout = '5s';
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
DELETE FROM outbox_act WHERE result = 'done' OR act NOT IN ('replay', 'discard', 'release', 'resend',
    'pause', 'resume', 'seek', 'rebuild', 'abandon', 'silence');
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_act_check,
    ADD CONSTRAINT outbox_act_act_check CHECK (act IN ('replay', 'discard', 'release', 'resend',
        'pause', 'resume', 'seek', 'rebuild', 'abandon', 'silence')) NOT VALID,
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'pending', 'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'stopped', 'rebuilt',
        'abandoned', 'silenced', 'unsilenced')) NOT VALID;
RESET lock_timeout;
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("outbox", "0025_acts_of_jobs")]

    operations = [
        migrations.RunSQL(COMMANDS, NO_COMMANDS),
        migrations.RunSQL(VALID, migrations.RunSQL.noop),
    ]
