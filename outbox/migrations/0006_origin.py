"""Where the outbox belongs: a restored or copied database is noticed by it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("outbox", "0005_hash")]

    operations = [
        migrations.CreateModel(
            name="Origin",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("server", models.TextField()),
                ("timeline", models.TextField()),
                ("kafka", models.TextField()),
                ("ends", models.JSONField()),
                ("taken_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "db_table": "outbox_origin",
                "constraints": [
                    models.CheckConstraint(name="outbox_one_origin", condition=models.Q(("id", 1)))
                ],
            },
        ),
    ]
