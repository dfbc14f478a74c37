"""The index by which due payments are found, built while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("payments", "0003_deadlines_of_old_payments")]

    operations = [
        # Building one beside writers can fail half way, and leaves an index that serves nobody.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS payments_due_idx", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "payment",
            models.Index(fields=["expires_at"], name="payments_due_idx", condition=Q(status="pending")),
        ),
    ]
