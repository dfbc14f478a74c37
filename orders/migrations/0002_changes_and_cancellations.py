"""Columns, rules and triggers for changes and cancellations: no row is read or written here.

On a table of millions this takes a moment. The constraints hold for new rows from here on, and 0003 checks
the old ones.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

# What a CHECK cannot see: the row as it was before, and the lines of an order.
GUARD = """
CREATE FUNCTION orders_change_is_lawful() RETURNS trigger LANGUAGE plpgsql AS $$
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
    RETURN NEW;
END $$;
CREATE TRIGGER orders_change_lawful BEFORE UPDATE ON orders_order
    FOR EACH ROW EXECUTE FUNCTION orders_change_is_lawful();

-- Once for each statement: lines are inserted together, and deleted together before others come.
CREATE FUNCTION orders_lines_are_lawful() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT id INTO wrong FROM orders_order
    WHERE id IN (SELECT order_id FROM changed) AND status = 'cancelled' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: it is cancelled, and its lines stay as they are', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_cancelled_is_final';
    END IF;
    SELECT id INTO wrong FROM orders_order
    WHERE id IN (SELECT order_id FROM changed) AND total_minor <> (
        SELECT coalesce(sum(quantity::numeric * unit_price_minor), total_minor)
        FROM orders_orderline WHERE order_id = orders_order.id
    ) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'order %: its lines do not add up to its total', wrong
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_lines_add_up';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_lines_inserted AFTER INSERT ON orders_orderline
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION orders_lines_are_lawful();
CREATE TRIGGER orders_lines_updated AFTER UPDATE ON orders_orderline
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION orders_lines_are_lawful();
CREATE TRIGGER orders_lines_deleted AFTER DELETE ON orders_orderline
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION orders_lines_are_lawful();
"""
NO_GUARD = """
DROP TRIGGER orders_lines_deleted ON orders_orderline;
DROP TRIGGER orders_lines_updated ON orders_orderline;
DROP TRIGGER orders_lines_inserted ON orders_orderline;
DROP FUNCTION orders_lines_are_lawful;
DROP TRIGGER orders_change_lawful ON orders_order;
DROP FUNCTION orders_change_is_lawful;
"""

CAUSES = [("command", "Command"), ("payment_refunded", "Payment Refunded")]


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]

    operations = [
        migrations.AddField(
            "order",
            "shipping_address",
            models.CharField(blank=True, db_default="", default="", max_length=500),
        ),
        migrations.AddField("order", "modified_at", models.DateTimeField(null=True)),
        migrations.AddField("order", "cancelled_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "order",
            "cause",
            models.CharField(blank=True, choices=CAUSES, db_default="", default="", max_length=16),
        ),
        migrations.AddField(
            "order", "reason", models.CharField(blank=True, db_default="", default="", max_length=500)
        ),
        AddConstraintNotValid(
            "order",
            models.CheckConstraint(
                name="orders_modified_at_fits_status",
                condition=Q(status="created", modified_at__isnull=True)
                | Q(status="modified", modified_at__isnull=False)
                | Q(status="cancelled"),
            ),
        ),
        AddConstraintNotValid(
            "order",
            models.CheckConstraint(
                name="orders_cancelled_at_iff_cancelled",
                condition=Q(status="cancelled", cancelled_at__isnull=False)
                | (~Q(status="cancelled") & Q(cancelled_at__isnull=True)),
            ),
        ),
        AddConstraintNotValid(
            "order",
            models.CheckConstraint(
                name="orders_cause_iff_cancelled",
                condition=Q(status="cancelled", cause__in=["command", "payment_refunded"])
                | (~Q(status="cancelled") & Q(cause="")),
            ),
        ),
        AddConstraintNotValid(
            "order",
            models.CheckConstraint(
                name="orders_reason_iff_command",
                condition=(Q(cause="command") & ~Q(reason="")) | (~Q(cause="command") & Q(reason="")),
            ),
        ),
        AddConstraintNotValid(
            "order",
            models.CheckConstraint(
                name="orders_reason_has_no_controls",
                condition=~Q(reason__regex=r"[\u0001-\u001f\u007f-\u009f]"),
            ),
        ),
        AddConstraintNotValid(
            "order",
            models.CheckConstraint(
                name="orders_address_has_no_controls",
                condition=~Q(shipping_address__regex=r"[\u0001-\u0009\u000b-\u001f\u007f-\u009f]"),
            ),
        ),
        migrations.RunSQL(GUARD, NO_GUARD),
    ]
