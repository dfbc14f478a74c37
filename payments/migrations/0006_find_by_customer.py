"""The index by which a customer's payments are found, the latest first, built while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("payments", "0005_history_is_final")]

    operations = [
        # Building one beside writers can fail half way, and leaves an index that serves nobody.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS payments_customer_idx", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "payment",
            models.Index(F("merchant_id"), F("customer_id"), F("id").desc(), name="payments_customer_idx"),
        ),
    ]
