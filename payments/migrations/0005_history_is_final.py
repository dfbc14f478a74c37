"""Close what the trigger of 0002 left open: the order of times, the deadline, and how a payment comes and goes.

No row is read or written. The times are judged at the transition and not by a CHECK: payments of before may
have been validated a moment before they were made, by the clocks of two processes, and must stay refundable.
"""

from django.db import migrations

# New triggers wait for whoever uses the table, and everyone else waits behind them: not for long.
PATIENCE = "SET LOCAL lock_timeout = '5s';"

FUNCTION = """
CREATE OR REPLACE FUNCTION payments_transition_is_lawful() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.merchant_id, NEW.customer_id, NEW.amount_minor, NEW.currency, NEW.lines, NEW.metadata,
            NEW.created_at, NEW.expires_at)
        IS DISTINCT FROM
        (OLD.id, OLD.merchant_id, OLD.customer_id, OLD.amount_minor, OLD.currency, OLD.lines, OLD.metadata,
            OLD.created_at, OLD.expires_at)
    THEN
        RAISE EXCEPTION 'payment %: what was asked for is never changed', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_facts_are_final';
    END IF;
    IF OLD.status <> NEW.status
        AND (OLD.status, NEW.status) NOT IN
            (('pending', 'validated'), ('pending', 'rejected'), ('validated', 'refunded'))
    THEN
        RAISE EXCEPTION 'payment %: no way leads from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_transition_is_lawful';
    END IF;
    IF OLD.status = 'pending' AND NEW.status = 'validated' AND NEW.validated_at >= NEW.expires_at THEN
        RAISE EXCEPTION 'payment %: it expired at %', OLD.id, NEW.expires_at
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_validated_in_time';
    END IF;
    IF OLD.status = NEW.status
        AND (OLD.validated_at, OLD.rejected_at, OLD.refunded_at, OLD.cause, OLD.reason)
            IS DISTINCT FROM (NEW.validated_at, NEW.rejected_at, NEW.refunded_at, NEW.cause, NEW.reason)
        OR OLD.status = 'validated' AND NEW.status = 'refunded' AND OLD.validated_at <> NEW.validated_at
    THEN
        RAISE EXCEPTION 'payment %: how it became % is never changed', OLD.id, OLD.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_history_is_final';
    END IF;
    IF OLD.status = 'pending' AND coalesce(NEW.validated_at, NEW.rejected_at) < OLD.created_at
        OR OLD.status = 'validated' AND NEW.refunded_at < OLD.validated_at
    THEN
        RAISE EXCEPTION 'payment %: it cannot become % before it became %', OLD.id, NEW.status, OLD.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_times_go_forward';
    END IF;
    RETURN NEW;
END $$;
"""
GUARD = """
CREATE FUNCTION payments_begin_and_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'payment %: it is never deleted', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_stay';
    END IF;
    RAISE EXCEPTION 'payment %: it begins as pending, not as %', NEW.id, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_begin_pending';
END $$;
CREATE TRIGGER payments_begin_pending BEFORE INSERT ON payments_payment
    FOR EACH ROW WHEN (NEW.status <> 'pending') EXECUTE FUNCTION payments_begin_and_stay();
CREATE TRIGGER payments_stay BEFORE DELETE ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION payments_begin_and_stay();
"""
NO_GUARD = """
DROP TRIGGER payments_stay ON payments_payment;
DROP TRIGGER payments_begin_pending ON payments_payment;
DROP FUNCTION payments_begin_and_stay;
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0004_find_what_is_due")]

    # The function of 0002 stays as it is here when this is undone: it refuses more, and goes with 0002.
    operations = [
        migrations.RunSQL(PATIENCE, PATIENCE),
        migrations.RunSQL(FUNCTION, migrations.RunSQL.noop),
        migrations.RunSQL(GUARD, NO_GUARD),
    ]
