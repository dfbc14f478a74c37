"""Close what the triggers of 0002 left open: the order of times, lines that go, and how an order comes and goes.

No row is read or written. The times are judged at the change, and not by a CHECK: it is the change that is
refused, never an order of before.
"""

from django.db import migrations

# New triggers wait for whoever uses a table, and everyone else waits behind them: not for long.
PATIENCE = "SET LOCAL lock_timeout = '5s';"

FUNCTION = """
CREATE OR REPLACE FUNCTION orders_change_is_lawful() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.payment_id, NEW.merchant_id, NEW.customer_id, NEW.total_minor, NEW.currency, NEW.created_at)
        IS DISTINCT FROM
        (OLD.id, OLD.payment_id, OLD.merchant_id, OLD.customer_id, OLD.total_minor, OLD.currency, OLD.created_at)
    THEN
        RAISE EXCEPTION 'order %: what was sold is never changed', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_facts_are_final';
    END IF;
    IF OLD.status = 'cancelled' AND NEW IS DISTINCT FROM OLD THEN
        RAISE EXCEPTION 'order %: it is cancelled, and stays as it is', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_cancelled_is_final';
    END IF;
    IF OLD.status = 'modified' AND NEW.status = 'created' THEN
        RAISE EXCEPTION 'order %: no way leads from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_transition_is_lawful';
    END IF;
    IF NEW.status = 'cancelled' AND OLD.modified_at IS DISTINCT FROM NEW.modified_at THEN
        RAISE EXCEPTION 'order %: when it was modified last is not changed by its end', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_history_is_final';
    END IF;
    IF OLD.status <> 'cancelled'
        AND least(NEW.modified_at, NEW.cancelled_at) < coalesce(OLD.modified_at, OLD.created_at)
    THEN
        RAISE EXCEPTION 'order %: it cannot become % before it became %', OLD.id, NEW.status, OLD.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_times_go_forward';
    END IF;
    RETURN NEW;
END $$;
"""
GUARD = """
CREATE FUNCTION orders_begin_and_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'order %: it is never deleted', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_stay';
    END IF;
    RAISE EXCEPTION 'order %: it begins as created, not as %', NEW.id, NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_begin_created';
END $$;
CREATE TRIGGER orders_begin_created BEFORE INSERT ON orders_order
    FOR EACH ROW WHEN (NEW.status <> 'created') EXECUTE FUNCTION orders_begin_and_stay();
CREATE TRIGGER orders_stay BEFORE DELETE ON orders_order
    FOR EACH ROW EXECUTE FUNCTION orders_begin_and_stay();

CREATE FUNCTION orders_line_stays_where_it_is() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'order %: its lines are not moved to another', OLD.order_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_lines_are_not_moved';
END $$;
CREATE TRIGGER orders_lines_not_moved BEFORE UPDATE ON orders_orderline
    FOR EACH ROW WHEN (NEW.order_id IS DISTINCT FROM OLD.order_id)
    EXECUTE FUNCTION orders_line_stays_where_it_is();

-- Lines are deleted together before others come, so that none are left for a moment: not at the end. What
-- is left adds up, which the triggers of 0002 see to after each statement.
CREATE FUNCTION orders_lines_are_replaced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM orders_orderline WHERE order_id = OLD.order_id) THEN
        RAISE EXCEPTION 'order %: its lines are replaced, never taken away', OLD.order_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_lines_are_replaced';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER orders_lines_replaced AFTER DELETE ON orders_orderline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION orders_lines_are_replaced();
"""
NO_GUARD = """
DROP TRIGGER orders_lines_replaced ON orders_orderline;
DROP FUNCTION orders_lines_are_replaced;
DROP TRIGGER orders_lines_not_moved ON orders_orderline;
DROP FUNCTION orders_line_stays_where_it_is;
DROP TRIGGER orders_stay ON orders_order;
DROP TRIGGER orders_begin_created ON orders_order;
DROP FUNCTION orders_begin_and_stay;
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0003_check_old_orders")]

    # The function of 0002 stays as it is here when this is undone: it refuses more, and goes with 0002.
    operations = [
        migrations.RunSQL(PATIENCE, PATIENCE),
        migrations.RunSQL(FUNCTION, migrations.RunSQL.noop),
        migrations.RunSQL(GUARD, NO_GUARD),
    ]
