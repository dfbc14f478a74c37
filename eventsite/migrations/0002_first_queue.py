"""The queue that worker and beat use. Started at one moment, one of them would end while both make it."""

from django.conf import settings
from django.db import migrations

from eventsite.broker import over_postgresql

QUEUE = "celery"


def create(apps, schema_editor):
    """As kombu's transport does, which finds nothing left to make."""
    if over_postgresql(settings.CELERY_BROKER_URL):
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT pgmq.create(%s)", [QUEUE])
            cursor.execute("SELECT pgmq.enable_notify_insert(%s, 0)", [QUEUE])


class Migration(migrations.Migration):
    dependencies = [("eventsite", "0001_task_queues")]
    # Going back leaves the queue: it may hold tasks.
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
