"""A payment and its events: together or not at all, and each transition once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from contracts.fields import Line
from contracts.money import Money
from contracts.payments import PaymentRequested, PaymentValidated
from outbox.models import OutboxEvent
from payments import services
from payments.errors import LinesDoNotAddUp, PaymentNotFound, TransitionForbidden
from payments.models import Payment

MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 5, 0, tzinfo=UTC)
EUROS = Money.parse("12.50", "EUR")
LINES = [Line(sku="tea", quantity=2, unit_price_minor=625)]


def request(**given: Any) -> tuple[Payment, UUID]:
    return services.request_payment(
        **{"merchant_id": MERCHANT, "customer_id": "c-1", "money": EUROS, "at": AT, **given}
    )


@pytest.mark.django_db
def test_a_request_is_a_pending_payment_and_its_event() -> None:
    payment, event_id = request(lines=LINES, metadata={"basket": "42"})
    payment.refresh_from_db()
    assert payment.id.version == 7
    assert (payment.status, payment.money, payment.created_at) == ("pending", EUROS, AT)
    event = OutboxEvent.objects.get(id=event_id)
    assert (event.topic, event.key, event.number) == ("payments", str(payment.id), 1)
    assert (event.owner, event.occurred_at) == (str(MERCHANT), AT)
    assert PaymentRequested.from_json(bytes(event.payload)) == PaymentRequested(
        payment_id=payment.id,
        merchant_id=MERCHANT,
        customer_id="c-1",
        amount_minor=1250,
        currency="EUR",
        lines=tuple(LINES),
    )


@pytest.mark.django_db
def test_lines_that_do_not_add_up_leave_nothing() -> None:
    with pytest.raises(LinesDoNotAddUp, match=r"add up to 12\.50 EUR, but the amount is 12\.51 EUR"):
        request(money=Money.parse("12.51", "EUR"), lines=LINES)
    assert not Payment.objects.exists()
    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db
def test_validation_is_the_state_and_its_event() -> None:
    payment, _ = request(lines=LINES)
    validated, event_id = services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=LATER)
    payment.refresh_from_db()
    assert (payment.status, payment.validated_at) == ("validated", LATER)
    assert validated == payment
    event = OutboxEvent.objects.get(id=event_id)
    assert (event.key, event.number, event.occurred_at) == (str(payment.id), 2, LATER)
    facts = PaymentValidated.from_json(bytes(event.payload))
    assert isinstance(facts, PaymentValidated)
    assert (facts.payment_id, facts.lines) == (payment.id, tuple(LINES))


@pytest.mark.django_db
def test_a_second_validation_is_refused_with_the_present_state() -> None:
    payment, _ = request()
    services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=LATER)
    with pytest.raises(TransitionForbidden, match=f"Payment {payment.id} is validated"):
        services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=LATER)
    assert OutboxEvent.objects.count() == 2


@pytest.mark.django_db
def test_another_merchants_payment_is_not_found_and_none_acts_for_all() -> None:
    payment, _ = request()
    with pytest.raises(PaymentNotFound):
        services.validate_payment(payment_id=payment.id, merchant_id=uuid4(), at=LATER)
    assert (
        services.validate_payment(payment_id=payment.id, merchant_id=None, at=LATER)[0].status == "validated"
    )


@pytest.mark.django_db(transaction=True)
def test_a_change_that_rolls_back_takes_its_event_along() -> None:
    payment, _ = request()

    def validate_and_fail() -> None:
        with transaction.atomic():
            services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=LATER)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        validate_and_fail()
    payment.refresh_from_db()
    assert payment.status == "pending"
    assert OutboxEvent.objects.count() == 1
    # The rolled-back event has left no hole in the numbers of its key.
    _, event_id = services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=LATER)
    assert OutboxEvent.objects.get(id=event_id).number == 2


@pytest.mark.django_db(transaction=True)
def test_of_many_validations_at_once_one_wins() -> None:
    payment, _ = request()
    together = threading.Barrier(8)

    def validate(_: int) -> bool:
        try:
            together.wait(timeout=10)
            services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=LATER)
        except TransitionForbidden:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(validate, range(8)))
    assert won.count(True) == 1
    assert OutboxEvent.objects.filter(type=PaymentValidated.type).count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"amount_minor": 0},
        {"amount_minor": -1},
        {"amount_minor": 10**15 + 1},
        {"currency": "eu"},
        {"status": "paid"},
        {"status": "validated"},
        {"validated_at": AT},
    ],
    ids=str,
)
def test_the_database_itself_refuses_what_cannot_be(change: dict[str, Any]) -> None:
    payment, _ = request()
    with pytest.raises(IntegrityError), transaction.atomic():
        Payment.objects.filter(id=payment.id).update(**change)
