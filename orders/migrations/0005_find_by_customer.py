"""The index by which a customer's orders are found, the latest first, built while others write."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("orders", "0004_history_is_final")]

    operations = [
        # Building one beside writers can fail half way, and leaves an index that serves nobody.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS orders_customer_idx", migrations.RunSQL.noop),
        AddIndexConcurrently(
            "order",
            models.Index(F("merchant_id"), F("customer_id"), F("id").desc(), name="orders_customer_idx"),
        ),
    ]
