"""Payments of an earlier release come through the migrations with a deadline, and under all new rules."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from outbox.ids import new_id
from payments.models import Payment
from tests.engine import Writer, until

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2025, 12, 1, tzinfo=UTC)
FIRST, COLUMNS, FILLED = (
    ("payments", name)
    for name in ("0001_initial", "0002_refusals_refunds_and_deadlines", "0003_deadlines_of_old_payments")
)

FILLING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%SET expires_at = created_at%' AND pid <> pg_backend_pid()
"""


def migrate_to(*targets: tuple[str, str]) -> None:
    MigrationExecutor(connection).migrate(list(targets))


@pytest.fixture
def before() -> Iterator[None]:
    """The table as the first release made it, and afterwards as it is now."""
    migrate_to(FIRST)
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE payments_payment")
    migrate_to(*MigrationExecutor(connection).loader.graph.leaf_nodes("payments"))


def insert_as_before(*, minutes: int = 0, **given: Any) -> UUID:
    """What the first release's INSERT says: it names none of the new columns."""
    at = AT + timedelta(minutes=minutes)
    row = {
        "id": new_id(at),
        "merchant_id": new_id(at),
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "status": "pending",
        "lines": json.dumps([]),
        "metadata": json.dumps({}),
        "created_at": at,
        **given,
    }
    with connection.cursor() as cursor:
        names, places = ", ".join(row), ", ".join(["%s"] * len(row))
        cursor.execute(f"INSERT INTO payments_payment ({names}) VALUES ({places})", list(row.values()))
    payment_id: UUID = row["id"]
    return payment_id


def test_old_payments_get_a_day_from_their_request(before: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # More than one batch, the last of them not full.
    module = MigrationExecutor(connection).loader.get_migration(*FILLED).__module__
    monkeypatch.setattr(f"{module}.BATCH", 2)
    pending = [insert_as_before(minutes=minutes) for minutes in range(5)]
    # Longer ago than its deadline will be: that was allowed then.
    good = insert_as_before(status="validated", validated_at=AT + timedelta(days=3))
    migrate_to(*MigrationExecutor(connection).loader.graph.leaf_nodes("payments"))
    rows = {payment.id: payment for payment in Payment.objects.all()}
    assert [rows[one].expires_at for one in pending] == [
        AT + timedelta(days=1, minutes=minutes) for minutes in range(5)
    ]
    assert (rows[good].status, rows[good].expires_at) == ("validated", AT + timedelta(days=1))
    assert {(payment.cause, payment.reason) for payment in rows.values()} == {("", "")}
    with pytest.raises(IntegrityError), transaction.atomic():
        Payment.objects.update(expires_at=None)


def test_both_releases_write_while_the_migrations_are_under_way(before: None) -> None:
    old = insert_as_before()
    migrate_to(COLUMNS)
    meanwhile = insert_as_before(minutes=1)
    # Of it the new release says when it ends; that is no business of the migration.
    new = insert_as_before(minutes=2, expires_at=AT + timedelta(days=30))
    migrate_to(FILLED)
    rows = {payment.id: payment.expires_at for payment in Payment.objects.all()}
    assert rows[old] == AT + timedelta(days=1)
    assert rows[meanwhile] > datetime.now(UTC) + timedelta(hours=23)
    assert rows[new] == AT + timedelta(days=30)
    # Until it is replaced, the old release goes on.
    assert insert_as_before(minutes=3) not in rows


def test_no_reader_or_writer_is_stopped_while_old_rows_are_filled(before: None) -> None:
    """The long step waits for a row that another transaction holds, and meanwhile the table is in use."""
    held, other = insert_as_before(), insert_as_before(minutes=1)
    migrate_to(COLUMNS)
    with Writer() as holder, Writer() as migration:
        holder.begin()
        holder.execute(f"SELECT id FROM payments_payment WHERE id = '{held}' FOR UPDATE")
        migration.call(lambda: migrate_to(FILLED), wait=False)
        with Writer() as user:
            until(lambda: user.execute(FILLING) == [(1,)])
            user.execute("SET statement_timeout = '5s'")
            assert user.execute("SELECT count(*) FROM payments_payment") == [(2,)]
            user.call(lambda: insert_as_before(minutes=2))
        holder.end(rollback=True)
        migration.call(lambda: None)
    assert not Payment.objects.filter(expires_at__isnull=True).exists()
    assert Payment.objects.filter(id=other, expires_at=AT + timedelta(days=1, minutes=1)).exists()


def test_an_index_that_was_left_half_built_is_built_anew(before: None) -> None:
    migrate_to(FILLED)
    names = (
        "payments_due_idx",
        "payments_customer_idx",
        "payments_merchant_status_idx",
        "payments_status_idx",
    )
    with connection.cursor() as cursor:
        # As building it beside writers leaves it when it is cut off: there by name, and never read.
        for name in names:
            cursor.execute(f"CREATE INDEX {name} ON payments_payment (status)")
            cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [name])
        migrate_to(*MigrationExecutor(connection).loader.graph.leaf_nodes("payments"))
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid::regclass::text = ANY(%s)", [list(names)]
        )
        assert cursor.fetchall() == [(True,)] * len(names)
