"""How payments end: rejected, refunded or expired, once, with one event, and never back again."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg.errors
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from pytest_django import Settings

from contracts.fields import Line
from contracts.money import Money
from contracts.orders import OrderCancelled
from contracts.payments import PaymentRefunded, PaymentRejected
from outbox import NonRecoverable
from outbox.models import OutboxEvent
from payments import services
from payments.checks import check_deadline
from payments.errors import NothingToRefund, PaymentExpired, PaymentNotFound, TransitionForbidden
from payments.handlers import consumer, refund_cancelled_order
from payments.models import Payment
from payments.tasks import BATCH, expire_due
from tests.engine import Writer, until
from tests.integration.at_once import at_once
from tests.integration.deliveries import delivered

MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
DEADLINE = AT + timedelta(days=1)
EUROS = Money.parse("12.50", "EUR")
LINES = [Line(sku="tea", quantity=2, unit_price_minor=625)]


def pending(**given: Any) -> Payment:
    whose = {"merchant_id": MERCHANT, "customer_id": "c-1", "money": EUROS, "at": AT, "lines": LINES}
    return services.request_payment(**{**whose, **given})[0]


def validated(**given: Any) -> Payment:
    return services.validate_payment(payment_id=pending(**given).id, merchant_id=MERCHANT, at=LATER)[0]


def reject(payment: Payment, **given: Any) -> tuple[Payment, UUID]:
    arguments = {"payment_id": payment.id, "merchant_id": MERCHANT, "reason": "no", "at": LATER}
    return services.reject_payment(**{**arguments, **given})


def refund(payment: Payment, **given: Any) -> tuple[Payment, UUID]:
    arguments = {"payment_id": payment.id, "merchant_id": MERCHANT, "reason": "sorry", "at": LATER}
    return services.refund_payment(**{**arguments, **given})


def told(payment: Payment) -> list[str]:
    """The types of the payment's events, in order."""
    events = OutboxEvent.objects.filter(topic="payments", key=str(payment.id)).order_by("number")
    return [event.type.split(".")[1].removeprefix("Payment") for event in events]


def facts(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.id,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "lines": tuple(LINES),
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "end", "status", "event_type", "number"),
    [
        (pending, reject, "rejected", PaymentRejected, 2),
        (validated, refund, "refunded", PaymentRefunded, 3),
    ],
)
def test_an_ending_is_the_state_its_reason_and_its_event(
    make: Callable[[], Payment],
    end: Callable[..., tuple[Payment, UUID]],
    status: str,
    event_type: type[PaymentRejected | PaymentRefunded],
    number: int,
) -> None:
    payment = make()
    reason = "Zwölf Boxkämpfer 🥊 e\u0301 \u202e\u05e9\u05dc\u05d5\u05dd"
    ended, event_id = end(payment, reason=reason)
    payment.refresh_from_db()
    assert ended == payment
    assert (payment.status, payment.cause, payment.reason) == (status, "command", reason)
    assert getattr(payment, f"{status}_at") == LATER
    event = OutboxEvent.objects.get(id=event_id)
    assert (event.key, event.number, event.occurred_at, event.owner) == (
        str(payment.id),
        number,
        LATER,
        str(MERCHANT),
    )
    assert event_type.from_json(bytes(event.payload)) == event_type(**facts(payment), cause="command")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("made", "done", "message"),
    [
        (lambda: reject(pending())[0], reject, "is rejected; only a pending payment can be rejected"),
        (validated, reject, "is validated; only a pending payment can be rejected"),
        (lambda: refund(validated())[0], reject, "is refunded; only a pending payment can be rejected"),
        (pending, refund, "is pending; only a validated payment can be refunded"),
        (lambda: reject(pending())[0], refund, "is rejected; only a validated payment can be refunded"),
        (lambda: refund(validated())[0], refund, "is refunded; only a validated payment can be refunded"),
    ],
)
def test_what_the_state_forbids_is_refused_and_changes_nothing(
    made: Callable[[], Payment], done: Callable[..., Any], message: str
) -> None:
    payment = made()
    row, events = Payment.objects.values().get(), told(payment)
    with pytest.raises(TransitionForbidden, match=message) as refusal:
        done(payment, at=DEADLINE)
    assert refusal.value.code == "transition_forbidden"
    assert (Payment.objects.values().get(), told(payment)) == (row, events)


@pytest.mark.django_db
@pytest.mark.parametrize(("make", "end"), [(pending, reject), (validated, refund)])
def test_another_merchants_payment_is_not_found_and_none_acts_for_all(
    make: Callable[[], Payment], end: Callable[..., tuple[Payment, UUID]]
) -> None:
    payment = make()
    for merchant_id, payment_id in ((uuid4(), payment.id), (MERCHANT, uuid4())):
        with pytest.raises(PaymentNotFound):
            end(payment, merchant_id=merchant_id, payment_id=payment_id)
    assert end(payment, merchant_id=None)[0].status in {"rejected", "refunded"}


# Deadlines


@pytest.mark.django_db
def test_a_request_has_a_deadline_from_the_settings(settings: Settings) -> None:
    assert pending().expires_at == DEADLINE
    settings.PAYMENTS_EXPIRE_AFTER = 90
    assert pending().expires_at == AT + timedelta(seconds=90)


@pytest.mark.parametrize("seconds", [0, -1, 10**9])
def test_a_deadline_that_cannot_be_is_noticed_before_any_payment(settings: Settings, seconds: int) -> None:
    assert check_deadline(None) == []
    settings.PAYMENTS_EXPIRE_AFTER = seconds
    [error] = check_deadline(None)
    assert (error.id, error.is_serious()) == ("payments.E001", True)


@pytest.mark.django_db
def test_the_deadline_binds_before_anyone_has_swept() -> None:
    payment = pending()
    with pytest.raises(PaymentExpired, match=r"expired at 2026-01-03T03:04:05\+00:00") as refusal:
        services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=DEADLINE)
    assert refusal.value.code == "payment_expired"
    assert told(payment) == ["Requested"]
    last_moment = DEADLINE - timedelta(microseconds=1)
    services.validate_payment(payment_id=payment.id, merchant_id=MERCHANT, at=last_moment)
    assert told(payment) == ["Requested", "Validated"]


@pytest.mark.django_db
def test_what_is_due_is_rejected_and_nothing_else() -> None:
    due, good, given_up = pending(), validated(), reject(pending())[0]
    later = pending(at=LATER)
    assert services.expire_due_payments(at=DEADLINE - timedelta(microseconds=1), limit=10) == 0
    assert services.expire_due_payments(at=DEADLINE, limit=10) == 1
    due.refresh_from_db()
    assert (due.status, due.cause, due.reason, due.rejected_at) == ("rejected", "expiry", "", DEADLINE)
    event = OutboxEvent.objects.get(key=str(due.id), number=2)
    assert PaymentRejected.from_json(bytes(event.payload)) == PaymentRejected(**facts(due), cause="expiry")
    assert (event.occurred_at, event.owner) == (DEADLINE, str(MERCHANT))
    assert [told(payment)[-1] for payment in (good, given_up, later)] == [
        "Validated",
        "Rejected",
        "Requested",
    ]
    assert services.expire_due_payments(at=DEADLINE, limit=10) == 0


@pytest.mark.django_db
def test_a_sweep_takes_those_first_that_are_due_longest_and_no_more_than_its_limit() -> None:
    payments = [pending(at=AT - timedelta(hours=hours)) for hours in range(5)]
    assert services.expire_due_payments(at=DEADLINE, limit=2) == 2
    rejected = set(Payment.objects.filter(status="rejected").values_list("id", flat=True))
    assert rejected == {payments[4].id, payments[3].id}


@pytest.mark.django_db(transaction=True)
def test_a_sweep_waits_for_nobody() -> None:
    held, free = pending(), pending()
    with Writer() as other, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
        other.begin()
        other.execute(f"SELECT id FROM payments_payment WHERE id = '{held.id}' FOR UPDATE")
        assert services.expire_due_payments(at=DEADLINE, limit=10) == 1
        assert (told(held), told(free)) == (["Requested"], ["Requested", "Rejected"])
        other.end(rollback=True)
        cursor.execute("RESET lock_timeout")
    assert services.expire_due_payments(at=DEADLINE, limit=10) == 1


@pytest.mark.django_db(transaction=True)
def test_sweeps_beside_each_other_reject_each_payment_once() -> None:
    payments = [pending() for _ in range(40)]
    sweeps = at_once(*[partial(services.expire_due_payments, at=DEADLINE, limit=100)] * 4)
    assert sum(sweeps) == 40
    assert [told(payment) for payment in payments] == [["Requested", "Rejected"]] * 40


@pytest.mark.django_db
def test_the_task_sweeps_until_nothing_is_due_and_may_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payments.tasks.BATCH", 2)
    payments = [pending() for _ in range(5)]  # requested long ago, by the database's clock
    expire_due()
    expire_due()
    assert {tuple(told(payment)) for payment in payments} == {("Requested", "Rejected")}
    assert BATCH == 200


@pytest.mark.django_db
def test_the_task_stops_at_its_bound_and_leaves_the_rest_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("payments.tasks.BATCH", 1)
    monkeypatch.setattr("payments.tasks.MOST_BATCHES", 2)
    for _ in range(3):
        pending()
    expire_due()
    assert Payment.objects.filter(status="rejected").count() == 2


def test_celery_knows_the_task_and_beat_lets_no_backlog_pile_up(settings: Settings) -> None:
    from eventsite.celery import app

    app.loader.import_default_modules()
    assert "payments.expire_due" in app.tasks
    entry = settings.CELERY_BEAT_SCHEDULE["due-payments"]
    assert entry["task"] == "payments.expire_due"
    assert timedelta(seconds=entry["options"]["expires"]) == entry["schedule"] == timedelta(seconds=5)


# Of those that meet, one wins


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_", range(5))
def test_of_a_validation_a_rejection_and_a_sweep_at_once_one_wins(_: int) -> None:
    payment = pending()
    moment = DEADLINE - timedelta(microseconds=1)
    results = at_once(
        partial(services.validate_payment, payment_id=payment.id, merchant_id=MERCHANT, at=moment),
        partial(reject, payment, at=moment),
        partial(services.expire_due_payments, at=DEADLINE, limit=10),
    )
    won = [result for result in results if isinstance(result, tuple) or result == 1]
    lost = [result for result in results if isinstance(result, TransitionForbidden) or result == 0]
    assert (len(won), len(lost)) == (1, 2), results
    payment.refresh_from_db()
    assert told(payment)[0] == "Requested"
    assert len(told(payment)) == 2
    assert told(payment)[1].lower() == payment.status


@pytest.mark.django_db(transaction=True)
def test_of_many_refunds_at_once_one_wins() -> None:
    payment = validated()
    results = at_once(*[partial(refund, payment, reason=f"{number}") for number in range(8)])
    assert Counter(type(result) for result in results) == {tuple: 1, TransitionForbidden: 7}
    [(winner, _)] = [result for result in results if isinstance(result, tuple)]
    payment.refresh_from_db()
    assert payment.reason == winner.reason
    assert told(payment) == ["Requested", "Validated", "Refunded"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_", range(5))
def test_of_a_refund_and_one_for_a_cancelled_order_one_wins_and_neither_fails_the_consumer(_: int) -> None:
    payment = validated()
    by_command, by_order = at_once(
        partial(refund, payment),
        partial(services.refund_cancelled_order, payment_id=payment.id, merchant_id=MERCHANT, at=LATER),
    )
    payment.refresh_from_db()
    if payment.cause == "command":
        assert (by_command[0], by_order) == (payment, None)
    else:
        assert isinstance(by_command, TransitionForbidden)
        assert isinstance(by_order, UUID)
    assert told(payment) == ["Requested", "Validated", "Refunded"]


# Time goes forward


WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE '%payments_payment%FOR UPDATE%' AND pid <> pg_backend_pid()
"""


@pytest.mark.django_db(transaction=True)
def test_a_validation_that_waits_past_the_deadline_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for in time; but it is the moment at which it can be done that counts."""
    payment, times = pending(), [LATER]
    monkeypatch.setattr("payments.services.clock.now", lambda **_: times[-1])
    results: list[Any] = []
    validate = partial(services.validate_payment, payment_id=payment.id, merchant_id=MERCHANT)
    with Writer() as holder, Writer() as waiter, Writer() as watcher:
        holder.begin()
        holder.execute(f"SELECT id FROM payments_payment WHERE id = '{payment.id}' FOR UPDATE")
        waiter.call(lambda: results.extend(at_once(validate)), wait=False)
        until(lambda: watcher.execute(WAITING) == [(1,)])
        times.append(DEADLINE)
        holder.end(rollback=True)
        waiter.call(lambda: None)
    assert isinstance(results[0], PaymentExpired), results
    assert told(payment) == ["Requested"]


@pytest.mark.django_db
def test_nothing_happens_to_a_payment_before_what_happened_to_it_already() -> None:
    """Whatever a caller says, and however far the clocks of two processes lie apart."""
    payment = services.validate_payment(payment_id=pending().id, merchant_id=MERCHANT, at=LATER)[0]
    payment, event_id = refund(payment, at=AT)
    assert (payment.validated_at, payment.refunded_at) == (LATER, LATER)
    assert OutboxEvent.objects.get(id=event_id).occurred_at == LATER
    early = AT - timedelta(seconds=1)
    assert reject(pending(), at=early)[0].rejected_at == AT
    assert (
        services.validate_payment(payment_id=pending().id, merchant_id=MERCHANT, at=early)[0].validated_at
        == AT
    )
    payment = validated()
    services.refund_cancelled_order(payment_id=payment.id, merchant_id=MERCHANT, at=AT)
    payment.refresh_from_db()
    assert payment.refunded_at == LATER


# What the consumer does


def cancelled(payment: Payment, *, cause: str = "command", **given: Any) -> OrderCancelled:
    known: dict[str, Any] = {
        "order_id": uuid4(),
        "payment_id": payment.id,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "total_minor": 1250,
        "currency": "EUR",
        "cause": cause,
    }
    return OrderCancelled(**known | given)


@pytest.mark.django_db
def test_a_cancelled_order_refunds_its_payment_once() -> None:
    payment = validated()
    for _ in range(2):
        refund_cancelled_order(delivered(cancelled(payment)))
    payment.refresh_from_db()
    assert (payment.status, payment.cause, payment.reason) == ("refunded", "order_cancelled", "")
    assert told(payment) == ["Requested", "Validated", "Refunded"]
    event = OutboxEvent.objects.get(key=str(payment.id), number=3)
    assert PaymentRefunded.from_json(bytes(event.payload)) == PaymentRefunded(
        **facts(payment), cause="order_cancelled"
    )
    assert event.owner == str(MERCHANT)


@pytest.mark.django_db
def test_a_refund_that_cancelled_an_order_is_not_answered_by_another() -> None:
    """Not even of a payment that could be: the cause alone stops it."""
    payment = validated()
    refund_cancelled_order(delivered(cancelled(payment, cause="payment_refunded")))
    assert told(payment) == ["Requested", "Validated"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (pending, {}, "is pending"),
        (lambda: reject(pending())[0], {}, "is rejected"),
        (validated, {"payment_id": uuid4()}, "unknown payment"),
        (validated, {"merchant_id": uuid4()}, "unknown payment"),
    ],
)
def test_an_order_that_cannot_have_been_is_refused_for_good(
    make: Callable[[], Payment], given: dict[str, Any], message: str
) -> None:
    payment = make()
    before = told(payment)
    with pytest.raises(NothingToRefund, match=message) as refusal:
        refund_cancelled_order(delivered(cancelled(payment, **given)))
    assert isinstance(refusal.value, NonRecoverable)
    assert told(payment) == before


def test_the_consumer_declares_what_it_reads_and_its_limit() -> None:
    assert (consumer.name, consumer.topics) == ("payments", ["orders"])
    assert consumer.sync_delay_limit == timedelta(seconds=5)


# What the database itself refuses


EARLIER = AT - timedelta(microseconds=1)
ONCE_VALIDATED: dict[str, Any] = {"status": "validated", "validated_at": LATER}
REJECTED: dict[str, Any] = {"status": "rejected", "rejected_at": LATER, "cause": "command", "reason": "no"}
REFUNDED: dict[str, Any] = {"status": "refunded", "refunded_at": LATER, "cause": "command", "reason": "no"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "change", "rule"),
    [
        (pending, ONCE_VALIDATED | {"cause": "command", "reason": "no"}, "payments_cause_fits_status"),
        (pending, REJECTED | {"rejected_at": None}, "payments_rejected_at_iff_rejected"),
        (pending, {"rejected_at": LATER}, "payments_history_is_final"),
        (pending, ONCE_VALIDATED | {"rejected_at": LATER}, "payments_rejected_at_iff_rejected"),
        (pending, ONCE_VALIDATED | {"refunded_at": LATER}, "payments_refunded_at_iff_refunded"),
        (pending, REJECTED | {"validated_at": LATER}, "payments_validated_at_iff_validated"),
        (pending, REJECTED | {"cause": "order_cancelled", "reason": ""}, "payments_cause_fits_status"),
        (pending, REJECTED | {"cause": "", "reason": ""}, "payments_cause_fits_status"),
        (pending, REJECTED | {"reason": ""}, "payments_reason_iff_command"),
        (pending, REJECTED | {"cause": "expiry"}, "payments_reason_iff_command"),
        (pending, REJECTED | {"reason": "a\nb"}, "payments_reason_has_no_controls"),
        (pending, REJECTED | {"reason": "a\x7fb"}, "payments_reason_has_no_controls"),
        (pending, REJECTED | {"reason": "a\x85b"}, "payments_reason_has_no_controls"),
        (pending, {"expires_at": DEADLINE + timedelta(days=3650)}, "payments_facts_are_final"),
        (pending, {"expires_at": None}, "payments_facts_are_final"),
        (pending, {"metadata": {"a": "b"}}, "payments_facts_are_final"),
        (pending, ONCE_VALIDATED | {"validated_at": EARLIER}, "payments_times_go_forward"),
        (pending, REJECTED | {"rejected_at": EARLIER}, "payments_times_go_forward"),
        (validated, REFUNDED | {"refunded_at": AT}, "payments_times_go_forward"),
        (validated, REFUNDED | {"validated_at": AT}, "payments_history_is_final"),
        (pending, ONCE_VALIDATED | {"validated_at": DEADLINE}, "payments_validated_in_time"),
        (pending, REFUNDED | {"validated_at": LATER}, "payments_transition_is_lawful"),
        (pending, {"amount_minor": 1}, "payments_facts_are_final"),
        (pending, {"merchant_id": uuid4()}, "payments_facts_are_final"),
        (pending, {"lines": []}, "payments_facts_are_final"),
        (validated, REFUNDED | {"refunded_at": None}, "payments_refunded_at_iff_refunded"),
        (validated, REFUNDED | {"cause": "expiry", "reason": ""}, "payments_cause_fits_status"),
        (validated, REJECTED | {"validated_at": None}, "payments_transition_is_lawful"),
        (validated, {"status": "pending", "validated_at": None}, "payments_transition_is_lawful"),
        (validated, {"validated_at": AT}, "payments_history_is_final"),
        (
            lambda: refund(validated())[0],
            {"status": "validated", "refunded_at": None, "cause": "", "reason": ""},
            "payments_transition_is_lawful",
        ),
        (lambda: refund(validated())[0], {"reason": "another"}, "payments_history_is_final"),
        (
            lambda: reject(pending())[0],
            {"status": "pending", "rejected_at": None, "cause": "", "reason": ""},
            "payments_transition_is_lawful",
        ),
    ],
)
def test_the_database_itself_refuses_what_cannot_be(
    make: Callable[[], Payment], change: dict[str, Any], rule: str
) -> None:
    payment = make()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        Payment.objects.filter(id=payment.id).update(**change)
    assert isinstance(refusal.value.__cause__, psycopg.errors.IntegrityError)
    assert rule in (refusal.value.__cause__.diag.constraint_name, refusal.value.__cause__.diag.column_name)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (ONCE_VALIDATED, "payments_begin_pending"),
        (ONCE_VALIDATED | REFUNDED, "payments_begin_pending"),
        (REJECTED, "payments_begin_pending"),
        ({"expires_at": AT}, "payments_expires_after_creation"),
        ({"expires_at": None}, "expires_at"),
    ],
)
def test_the_database_itself_refuses_beginnings_that_cannot_be(change: dict[str, Any], rule: str) -> None:
    row = Payment.objects.filter(id=pending().id).values().get()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        Payment.objects.create(**row | {"id": uuid4()} | change)
    assert isinstance(refusal.value.__cause__, psycopg.errors.IntegrityError)
    assert rule in (refusal.value.__cause__.diag.constraint_name, refusal.value.__cause__.diag.column_name)


@pytest.mark.django_db
@pytest.mark.parametrize("make", [pending, validated, lambda: reject(pending())[0]])
def test_the_database_itself_deletes_no_payment(make: Callable[[], Payment]) -> None:
    payment = make()
    with pytest.raises(IntegrityError, match="never deleted"), transaction.atomic():
        payment.delete()
    assert Payment.objects.filter(id=payment.id).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("make", [pending, validated])
def test_a_reason_too_long_for_its_column_leaves_nothing(make: Callable[[], Payment]) -> None:
    payment = make()
    before = told(payment)
    with pytest.raises(DataError):
        (reject if payment.status == "pending" else refund)(payment, reason="x" * 501)
    assert told(payment) == before


@pytest.mark.django_db
def test_no_event_of_an_ending_repeats_what_people_wrote() -> None:
    reject(pending(metadata={"who": "secret person"}), reason="secret reason")
    refund(validated(metadata={"who": "secret person"}), reason="secret reason")
    payloads = [bytes(event.payload) for event in OutboxEvent.objects.all()]
    assert len(payloads) == 5
    assert not [payload for payload in payloads if b"secret" in payload]
