"""The letters of one consumer that died of one cause are found in their order, however few they are."""

from importlib import import_module

from django.db import migrations

open_causes = import_module("outbox.migrations.0022_open_causes")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("outbox", "0032_sent_at")]

    operations = open_causes.built_beside_writers(
        "outbox_dead_letter_of_consumers_cause_idx",
        "outbox_dead_letter (consumer, cause, state, died_at, id)",
    )
