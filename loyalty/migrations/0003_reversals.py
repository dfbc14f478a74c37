"""Points are reversed as they were earned: the database refuses every other reversal. No row is read here."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

REASONS = [("earned", "Earned"), ("reversed", "Reversed")]

GUARD = """
CREATE FUNCTION loyalty_reversal_is_lawful() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM loyalty_ledgerentry
        WHERE payment_id = NEW.payment_id AND reason = 'earned'
            AND account_id = NEW.account_id AND points = -NEW.points
    ) THEN
        RAISE EXCEPTION 'payment % has not earned the % points that would be taken back',
            NEW.payment_id, -NEW.points
            USING ERRCODE = 'check_violation', CONSTRAINT = 'loyalty_reversal_is_minus_earned';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER loyalty_reversal_lawful BEFORE INSERT ON loyalty_ledgerentry
    FOR EACH ROW WHEN (NEW.reason = 'reversed') EXECUTE FUNCTION loyalty_reversal_is_lawful();
"""
NO_GUARD = """
DROP TRIGGER loyalty_reversal_lawful ON loyalty_ledgerentry;
DROP FUNCTION loyalty_reversal_is_lawful;
"""


class Migration(migrations.Migration):
    dependencies = [("loyalty", "0002_ledger_is_append_only")]

    operations = [
        migrations.AlterField("ledgerentry", "reason", models.CharField(choices=REASONS, max_length=8)),
        migrations.RemoveConstraint("ledgerentry", "loyalty_reason_is_known"),
        AddConstraintNotValid(
            "ledgerentry",
            models.CheckConstraint(
                name="loyalty_reason_is_known", condition=Q(reason__in=["earned", "reversed"])
            ),
        ),
        AddConstraintNotValid(
            "ledgerentry",
            models.CheckConstraint(
                name="loyalty_reversed_is_not_positive", condition=~Q(reason="reversed") | Q(points__lte=0)
            ),
        ),
        migrations.RunSQL(GUARD, NO_GUARD),
    ]
