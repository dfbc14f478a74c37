"""The schema of Celery's queues, out of the pgmq package: an extension of PostgreSQL, here as plain SQL."""

from django.db import migrations
from pgmq.install import get_embedded_install_sql


def install(apps, schema_editor):
    """Leave alone what is there: the server may offer pgmq as an extension, or another project may use it."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('pgmq.meta')")
        if cursor.fetchone()[0] is None:
            cursor.execute(get_embedded_install_sql())


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    # Going back leaves the queues: they may hold tasks.
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
