"""The indexes by which a page of one state is found, built while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("payments", "0006_find_by_customer")]

    operations = [
        # Building one beside writers can fail half way, and leaves an index that serves nobody.
        migrations.RunSQL(
            "DROP INDEX CONCURRENTLY IF EXISTS payments_merchant_status_idx", migrations.RunSQL.noop
        ),
        AddIndexConcurrently(
            "payment",
            models.Index(F("merchant_id"), F("status"), F("id").desc(), name="payments_merchant_status_idx"),
        ),
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS payments_status_idx", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "payment", models.Index(F("status"), F("id").desc(), name="payments_status_idx")
        ),
    ]
