"""Give payments of before their deadline, and check all rows, while others go on reading and writing.

No step holds a lock that stops them for longer than a moment, and each commits by itself: run again after
an interruption, it goes on where it was.
"""

from typing import Any

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models

BATCH = 10_000
CONSTRAINTS = (
    "payments_rejected_at_iff_rejected",
    "payments_refunded_at_iff_refunded",
    "payments_cause_fits_status",
    "payments_reason_iff_command",
    "payments_reason_has_no_controls",
    "payments_expires_after_creation",
)
NEXT_BATCH = """
SELECT id FROM payments_payment WHERE id > %s ORDER BY id LIMIT %s
"""
SET_DEADLINES = """
UPDATE payments_payment SET expires_at = created_at + interval '1 day'
WHERE id > %s AND id <= %s AND expires_at IS NULL
"""


def set_deadlines(apps: Any, schema_editor: Any) -> None:
    """A day from the request, batch by batch in the order of ids. New rows have theirs already."""
    last = "00000000-0000-0000-0000-000000000000"
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(NEXT_BATCH, [last, BATCH])
            ids = [row[0] for row in cursor.fetchall()]
            if not ids:
                return
            cursor.execute(SET_DEADLINES, [last, ids[-1]])
            last = ids[-1]


# SET NOT NULL reads the whole table under a lock that stops everyone, unless a valid CHECK has said it all.
NOT_NULL = [
    "ALTER TABLE payments_payment DROP CONSTRAINT IF EXISTS payments_expires_at_is_set",
    "ALTER TABLE payments_payment ADD CONSTRAINT payments_expires_at_is_set CHECK (expires_at IS NOT NULL) NOT VALID",
    "ALTER TABLE payments_payment VALIDATE CONSTRAINT payments_expires_at_is_set",
    "ALTER TABLE payments_payment ALTER COLUMN expires_at SET NOT NULL",
    "ALTER TABLE payments_payment DROP CONSTRAINT payments_expires_at_is_set",
]


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("payments", "0002_refusals_refunds_and_deadlines")]

    operations = [
        migrations.RunPython(set_deadlines, migrations.RunPython.noop),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    NOT_NULL, "ALTER TABLE payments_payment ALTER COLUMN expires_at DROP NOT NULL"
                )
            ],
            state_operations=[migrations.AlterField("payment", "expires_at", models.DateTimeField())],
        ),
        *(ValidateConstraint("payment", name) for name in CONSTRAINTS),
    ]
