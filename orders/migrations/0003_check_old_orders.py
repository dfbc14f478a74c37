"""Check the orders of before against the new rules, while others go on reading and writing."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations

CONSTRAINTS = (
    "orders_modified_at_fits_status",
    "orders_cancelled_at_iff_cancelled",
    "orders_cause_iff_cancelled",
    "orders_reason_iff_command",
    "orders_reason_has_no_controls",
    "orders_address_has_no_controls",
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orders", "0002_changes_and_cancellations")]
    operations = [ValidateConstraint("order", name) for name in CONSTRAINTS]
