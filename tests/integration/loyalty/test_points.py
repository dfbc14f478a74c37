"""A validated payment earns its points exactly once, into a ledger that nobody can rewrite."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction
from pytest_django import Settings

from contracts.loyalty import PointsEarned
from contracts.money import Money
from contracts.payments import PaymentValidated
from loyalty import selectors
from loyalty.errors import AccountNotFound, PointsAlreadyEarned
from loyalty.handlers import consumer, earn_points
from loyalty.models import Account, LedgerEntry
from outbox import NonRecoverable
from outbox.models import OutboxEvent
from tests.integration import sales
from tests.integration.deliveries import delivered

MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def validated(**given: Any) -> PaymentValidated:
    facts: dict[str, Any] = {
        "payment_id": uuid4(),
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
    }
    return PaymentValidated(**facts | given)


def balance(merchant_id: UUID = MERCHANT, customer_id: str = "c-1") -> int:
    account = selectors.get_account(merchant_id=merchant_id, customer_id=customer_id)
    return selectors.balance_of(account=account)


@pytest.mark.django_db
def test_the_event_earns_points_and_says_so() -> None:
    event = validated()
    earn_points([delivered(event)])
    assert balance() == 12
    entry = LedgerEntry.objects.get()
    assert (entry.points, entry.reason, entry.payment_id) == (12, "earned", event.payment_id)
    earned = OutboxEvent.objects.get()
    assert (earned.type, earned.topic, earned.key) == (PointsEarned.type, "loyalty", f"{MERCHANT}:c-1")
    assert earned.owner == str(MERCHANT)
    assert PointsEarned.from_json(bytes(earned.payload)) == PointsEarned(
        entry_id=entry.id, merchant_id=MERCHANT, customer_id="c-1", payment_id=event.payment_id, points=12
    )


@pytest.mark.django_db
def test_the_rule_comes_from_the_settings(settings: Settings) -> None:
    settings.LOYALTY_POINTS_PER_UNIT = 10
    earn_points([delivered(validated())])
    assert balance() == 125


@pytest.mark.django_db
def test_a_payment_too_small_for_a_point_still_has_its_entry() -> None:
    earn_points([delivered(validated(amount_minor=99))])
    assert balance() == 0
    assert LedgerEntry.objects.get().points == 0


@pytest.mark.django_db
def test_accounts_are_of_one_customer_with_one_merchant() -> None:
    other = uuid4()
    for event in (validated(), validated(), validated(merchant_id=other), validated(customer_id="c-2")):
        earn_points([delivered(event)])
    assert Account.objects.count() == 3
    assert (balance(), balance(merchant_id=other), balance(customer_id="c-2")) == (24, 12, 12)
    assert len(selectors.accounts_of_customer(customer_id="c-1", limit=9)) == 2
    with pytest.raises(AccountNotFound):
        balance(customer_id="nobody")


@pytest.mark.django_db
def test_a_second_event_for_the_payment_is_refused_for_good_and_changes_nothing() -> None:
    event = validated()
    earn_points([delivered(event)])
    with pytest.raises(PointsAlreadyEarned, match=str(event.payment_id)) as refusal:
        earn_points([delivered(event)])
    assert isinstance(refusal.value, NonRecoverable)
    assert (balance(), OutboxEvent.objects.count()) == (12, 1)


@pytest.mark.django_db(transaction=True)
def test_payments_of_a_new_customer_at_once_open_one_account() -> None:
    together = threading.Barrier(8)

    def earn(_: int) -> None:
        try:
            together.wait(timeout=10)
            sales.earn_points(
                payment_id=uuid4(),
                merchant_id=MERCHANT,
                customer_id="c-1",
                money=Money.parse("1.00", "EUR"),
                points_per_unit=1,
                at=AT,
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(earn, range(8)))
    assert Account.objects.count() == 1
    assert balance() == 8
    assert set(OutboxEvent.objects.values_list("number", flat=True)) == set(range(1, 9))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement", ["UPDATE loyalty_ledgerentry SET points = 1", "DELETE FROM loyalty_ledgerentry"]
)
def test_the_database_refuses_to_rewrite_the_ledger(statement: str) -> None:
    earn_points([delivered(validated())])
    with (
        pytest.raises(ProgrammingError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert balance() == 12


@pytest.mark.django_db
def test_the_database_refuses_negative_earnings() -> None:
    earn_points([delivered(validated())])
    account = Account.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.create(
            id=uuid4(), account=account, points=-1, reason="earned", payment_id=uuid4(), created_at=AT
        )


def test_the_consumer_declares_what_it_reads_and_its_limit() -> None:
    assert (consumer.name, consumer.topics) == ("loyalty", ["payments"])
    assert consumer.sync_delay_limit == timedelta(seconds=5)
