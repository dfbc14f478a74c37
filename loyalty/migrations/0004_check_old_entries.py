"""Check the entries of before against the new rules, while others go on reading and writing."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("loyalty", "0003_reversals")]
    operations = [
        ValidateConstraint("ledgerentry", "loyalty_reason_is_known"),
        ValidateConstraint("ledgerentry", "loyalty_reversed_is_not_positive"),
    ]
