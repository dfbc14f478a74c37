"""Acts that are written down before they are done, and completed once."""

from django.db import migrations

PENDING = """
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'pending', 'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'stopped', 'rebuilt',
        'abandoned', 'silenced', 'unsilenced'));
CREATE OR REPLACE FUNCTION outbox_act_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before outbox_act;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.result = 'pending' AND NEW.result IN ('sent', 'nothing') THEN
        before := NEW;
        before.result := OLD.result;
        before.error := OLD.error;
        before.detail := OLD.detail;
        IF before IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'outbox_act is append-only: what was done was done';
END $$;
"""
NOT_PENDING = """
CREATE OR REPLACE FUNCTION outbox_act_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'outbox_act is append-only: what was done was done';
END $$;
ALTER TABLE outbox_act DISABLE TRIGGER outbox_act_append_only;
UPDATE outbox_act SET result = 'nothing' WHERE result = 'pending';
ALTER TABLE outbox_act ENABLE TRIGGER outbox_act_append_only;
ALTER TABLE outbox_act
    DROP CONSTRAINT outbox_act_result_check,
    ADD CONSTRAINT outbox_act_result_check CHECK (result IN ('replayed', 'died', 'discarded', 'released', 'sent',
        'asked', 'nothing', 'paused', 'resumed', 'skipped', 'moved', 'begun', 'stopped', 'rebuilt', 'abandoned',
        'silenced', 'unsilenced'));
"""


class Migration(migrations.Migration):
    dependencies = [("outbox", "0019_tasks_and_kafka")]

    operations = [migrations.RunSQL(PENDING, NOT_PENDING)]
