"""An alarm's silence has a permission of its own; that of consumers says all that it is for."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("outbox", "0016_beginnings")]

    operations = [
        migrations.AlterModelOptions(
            name="alarm",
            options={"permissions": [("silence_alarm", "Can silence alarms")]},
        ),
        migrations.AlterModelOptions(
            name="consumerstate",
            options={
                "verbose_name": "consumer",
                "permissions": [("steer_consumer", "Can pause, resume, move and rebuild consumers")],
            },
        ),
    ]
