"""The points of a refunded payment are taken back once, as many as it had earned."""

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg.errors
import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from contracts.loyalty import PointsReversed
from contracts.payments import PaymentRefunded, PaymentValidated
from loyalty import selectors, services
from loyalty.handlers import consumer, earn_points, reverse_points
from loyalty.models import Account, LedgerEntry
from outbox import clock
from outbox.models import OutboxEvent
from tests.integration.at_once import at_once
from tests.integration.deliveries import delivered

MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")


def earned(**given: Any) -> PaymentValidated:
    """A payment whose points have been entered."""
    facts: dict[str, Any] = {
        "payment_id": uuid4(),
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
    }
    event = PaymentValidated(**facts | given)
    earn_points([delivered(event)])
    return event


def refunded(payment: PaymentValidated, **given: Any) -> PaymentRefunded:
    facts: dict[str, Any] = {
        "payment_id": payment.payment_id,
        "merchant_id": payment.merchant_id,
        "customer_id": payment.customer_id,
        "amount_minor": payment.amount_minor,
        "currency": payment.currency,
        "cause": "command",
    }
    return PaymentRefunded(**facts | given)


def balance(customer_id: str = "c-1") -> int:
    return selectors.balance_of(account=selectors.get_account(merchant_id=MERCHANT, customer_id=customer_id))


@pytest.mark.django_db
@pytest.mark.parametrize("cause", ["command", "order_cancelled"])
def test_a_refund_takes_its_points_back_and_says_so(cause: str, settings: Settings) -> None:
    other, payment = earned(amount_minor=700), earned()
    # What was earned under one rule is not taken back under another.
    settings.LOYALTY_POINTS_PER_UNIT = 100
    reverse_points(delivered(refunded(payment, cause=cause)))
    assert balance() == 7
    entry = LedgerEntry.objects.get(payment_id=payment.payment_id, reason="reversed")
    assert entry.points == -12
    event = OutboxEvent.objects.get(type=PointsReversed.type)
    assert (event.key, event.number, event.owner) == (f"{MERCHANT}:c-1", 3, str(MERCHANT))
    assert event.occurred_at == entry.created_at
    assert PointsReversed.from_json(bytes(event.payload)) == PointsReversed(
        entry_id=entry.id,
        merchant_id=MERCHANT,
        customer_id="c-1",
        payment_id=payment.payment_id,
        points=12,
    )
    reverse_points(delivered(refunded(other)))
    assert balance() == 0


@pytest.mark.django_db
def test_a_payment_that_earned_nothing_still_has_its_second_entry() -> None:
    payment = earned(amount_minor=99)
    reverse_points(delivered(refunded(payment)))
    assert list(LedgerEntry.objects.order_by("id").values_list("reason", "points")) == [
        ("earned", 0),
        ("reversed", 0),
    ]
    event = OutboxEvent.objects.get(type=PointsReversed.type)
    assert PointsReversed.from_json(bytes(event.payload)).points == 0  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_a_refund_told_anew_finds_its_points_taken_back_and_changes_nothing() -> None:
    payment = earned()
    for _ in range(2):
        reverse_points(delivered(refunded(payment)))
    assert (balance(), OutboxEvent.objects.count()) == (0, 2)


@pytest.mark.django_db(transaction=True)
def test_of_many_reversals_at_once_one_is_entered() -> None:
    payment = earned()
    reverse = partial(
        services.reverse_points, payment_id=payment.payment_id, merchant_id=MERCHANT, at=clock.now()
    )
    results = at_once(*[reverse] * 6)
    assert sum(isinstance(result, LedgerEntry) for result in results) == 1
    assert results.count(None) == 5
    assert (balance(), OutboxEvent.objects.count()) == (0, 2)


@pytest.mark.django_db
@pytest.mark.parametrize("given", [{"payment_id": uuid4()}, {"merchant_id": uuid4()}])
def test_a_refund_of_what_earned_nothing_here_does_nothing_and_says_so(
    given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    payment = earned()
    reverse_points(delivered(refunded(payment, **given)))
    assert (balance(), OutboxEvent.objects.count()) == (12, 1)
    assert "has earned no points here" in caplog.text


def test_the_consumer_hears_of_refunds() -> None:
    assert set(consumer.routes) == {PaymentValidated.type, PaymentRefunded.type}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"points": -11}, "loyalty_reversal_is_minus_earned"),
        ({"points": -13}, "loyalty_reversal_is_minus_earned"),
        ({"points": 12}, "loyalty_reversal_is_minus_earned"),
        ({"payment_id": uuid4()}, "loyalty_reversal_is_minus_earned"),
        ({"account": "another"}, "loyalty_reversal_is_minus_earned"),
        ({"reason": "gift"}, "loyalty_reason_is_known"),
    ],
)
def test_the_database_itself_refuses_what_cannot_be(given: dict[str, Any], rule: str) -> None:
    payment = earned()
    earned(customer_id="c-2")
    accounts = {account.customer_id: account for account in Account.objects.all()}
    entry: dict[str, Any] = {
        "id": uuid4(),
        "account": accounts["c-1"],
        "points": -12,
        "reason": "reversed",
        "payment_id": payment.payment_id,
        "created_at": clock.now(),
    }
    if "account" in given:
        given = {"account": accounts["c-2"]}
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        LedgerEntry.objects.create(**entry | given)
    assert isinstance(refusal.value.__cause__, psycopg.errors.IntegrityError)
    assert refusal.value.__cause__.diag.constraint_name == rule
    assert (balance(), balance("c-2")) == (12, 12)
