"""Columns, rules and a trigger for rejections, refunds and deadlines: no row is read or written here.

On a table of millions this takes a moment. The columns have defaults that the previous release's INSERTs can
leave to the database while both releases run; the constraints hold for new rows from here on, and 0003 checks
the old ones.
"""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import F, Q

DEFAULT_DEADLINE = (
    "ALTER TABLE payments_payment ALTER COLUMN expires_at SET DEFAULT now() + interval '1 day';"
)
NO_DEFAULT_DEADLINE = "ALTER TABLE payments_payment ALTER COLUMN expires_at DROP DEFAULT;"

# What a CHECK cannot see: the row as it was before.
GUARD = """
CREATE FUNCTION payments_transition_is_lawful() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.merchant_id, NEW.customer_id, NEW.amount_minor, NEW.currency, NEW.lines, NEW.created_at)
        IS DISTINCT FROM
        (OLD.id, OLD.merchant_id, OLD.customer_id, OLD.amount_minor, OLD.currency, OLD.lines, OLD.created_at)
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
    IF (OLD.validated_at, OLD.rejected_at, OLD.refunded_at, OLD.cause, OLD.reason)
        IS DISTINCT FROM (NEW.validated_at, NEW.rejected_at, NEW.refunded_at, NEW.cause, NEW.reason)
        AND OLD.status = NEW.status
    THEN
        RAISE EXCEPTION 'payment %: how it became % is never changed', OLD.id, OLD.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_history_is_final';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payments_transition_lawful BEFORE UPDATE ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION payments_transition_is_lawful();
"""
NO_GUARD = """
DROP TRIGGER payments_transition_lawful ON payments_payment;
DROP FUNCTION payments_transition_is_lawful;
"""

CAUSES = [("command", "Command"), ("expiry", "Expiry"), ("order_cancelled", "Order Cancelled")]


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]

    operations = [
        migrations.AddField("payment", "expires_at", models.DateTimeField(null=True)),
        migrations.RunSQL(DEFAULT_DEADLINE, NO_DEFAULT_DEADLINE),
        migrations.AddField("payment", "rejected_at", models.DateTimeField(null=True)),
        migrations.AddField("payment", "refunded_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "payment",
            "cause",
            models.CharField(blank=True, choices=CAUSES, db_default="", default="", max_length=15),
        ),
        migrations.AddField(
            "payment", "reason", models.CharField(blank=True, db_default="", default="", max_length=500)
        ),
        AddConstraintNotValid(
            "payment",
            models.CheckConstraint(
                name="payments_rejected_at_iff_rejected",
                condition=Q(status="rejected", rejected_at__isnull=False)
                | (~Q(status="rejected") & Q(rejected_at__isnull=True)),
            ),
        ),
        AddConstraintNotValid(
            "payment",
            models.CheckConstraint(
                name="payments_refunded_at_iff_refunded",
                condition=Q(status="refunded", refunded_at__isnull=False)
                | (~Q(status="refunded") & Q(refunded_at__isnull=True)),
            ),
        ),
        AddConstraintNotValid(
            "payment",
            models.CheckConstraint(
                name="payments_cause_fits_status",
                condition=Q(status__in=["pending", "validated"], cause="")
                | Q(status="rejected", cause__in=["command", "expiry"])
                | Q(status="refunded", cause__in=["command", "order_cancelled"]),
            ),
        ),
        AddConstraintNotValid(
            "payment",
            models.CheckConstraint(
                name="payments_reason_iff_command",
                condition=(Q(cause="command") & ~Q(reason="")) | (~Q(cause="command") & Q(reason="")),
            ),
        ),
        AddConstraintNotValid(
            "payment",
            models.CheckConstraint(
                name="payments_reason_has_no_controls",
                condition=~Q(reason__regex=r"[\u0001-\u001f\u007f-\u009f]"),
            ),
        ),
        AddConstraintNotValid(
            "payment",
            models.CheckConstraint(
                name="payments_expires_after_creation", condition=Q(expires_at__gt=F("created_at"))
            ),
        ),
        migrations.RunSQL(GUARD, NO_GUARD),
    ]
