"""The indexes by which open letters' causes are walked, and a key's first waiting number is found."""

from django.db import migrations


def built_beside_writers(name: str, on: str) -> list[migrations.RunSQL]:
    """Building one beside writers can fail half way, and leaves an index that serves nobody."""
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
    return [
        migrations.RunSQL(drop, migrations.RunSQL.noop),
        migrations.RunSQL(f"CREATE INDEX CONCURRENTLY {name} ON {on}", drop),
    ]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("outbox", "0021_released_keys_in_hand")]

    operations = [
        *built_beside_writers(
            "outbox_dead_letter_of_group_idx",
            "outbox_dead_letter (state, consumer, fingerprint, cause, died_at, id)",
        ),
        *built_beside_writers(
            "outbox_waiting_event_of_number_idx",
            "outbox_waiting_event (consumer, generation, topic, key, number)",
        ),
    ]
