"""The database refuses to change history: no UPDATE, no DELETE of ledger entries."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION loyalty_ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: enter a correcting entry (% of % refused)', TG_OP, OLD.id;
END $$;
CREATE TRIGGER loyalty_ledger_append_only BEFORE UPDATE OR DELETE ON loyalty_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION loyalty_ledger_is_append_only();
"""
ALLOW = """
DROP TRIGGER loyalty_ledger_append_only ON loyalty_ledgerentry;
DROP FUNCTION loyalty_ledger_is_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("loyalty", "0001_initial")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
