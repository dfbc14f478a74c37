"""The index by which due payments are found, built while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("payments", "0003_deadlines_of_old_payments")]

    operations = [
        AddIndexConcurrently(
            "payment",
            models.Index(fields=["expires_at"], name="payments_due_idx", condition=Q(status="pending")),
        ),
    ]
