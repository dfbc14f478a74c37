"""Orders are changed to the same total, and cancelled once; never the other way round."""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg.errors
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from contracts.fields import Line
from contracts.money import Money
from contracts.orders import OrderCancelled, OrderModified
from contracts.payments import PaymentRefunded
from orders import services
from orders.errors import LinesDoNotAddUp, OrderNotFound, TransitionForbidden
from orders.handlers import cancel_refunded_order
from orders.models import Order, OrderLine
from orders.selectors import get_order, orders_seen_by
from outbox import NonRecoverable, clock
from outbox.models import OutboxEvent
from tests.integration.at_once import at_once
from tests.integration.deliveries import delivered
from tests.integration.sales import instantiate_order

MERCHANT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
EUROS = Money.parse("12.50", "EUR")
TEA = (Line(sku="tea", quantity=2, unit_price_minor=625),)
CUPS = (
    Line(sku="cup", quantity=1, unit_price_minor=1000),
    Line(sku="spoon", quantity=5, unit_price_minor=50),
)
ADDRESS = "Rue de l'Église 3\n1000 Bruxelles 🇧🇪"


def created(**given: Any) -> Order:
    facts: dict[str, Any] = {
        "payment_id": uuid4(),
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "money": EUROS,
        "lines": TEA,
        "at": AT,
    }
    return instantiate_order(**facts | given)


def modify(order: Order, **given: Any) -> tuple[Order, UUID | None]:
    arguments = {"order_id": order.id, "merchant_id": MERCHANT, "at": LATER}
    return services.modify_order(**{**arguments, **given})


def cancel(order: Order, **given: Any) -> tuple[Order, UUID]:
    arguments = {"order_id": order.id, "merchant_id": MERCHANT, "reason": "no stock", "at": LATER}
    return services.cancel_order(**{**arguments, **given})


def cancelled() -> Order:
    return cancel(created())[0]


def told(order: Order) -> list[str]:
    """The types of the order's events, in order."""
    events = OutboxEvent.objects.filter(topic="orders", key=str(order.id)).order_by("number")
    return [event.type.split(".")[1].removeprefix("Order") for event in events]


def rows() -> tuple[list[Any], list[Any], int]:
    return (
        list(Order.objects.values()),
        list(OrderLine.objects.order_by("id").values()),
        OutboxEvent.objects.count(),
    )


def facts(order: Order, lines: tuple[Line, ...]) -> dict[str, Any]:
    return {
        "order_id": order.id,
        "payment_id": order.payment_id,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "total_minor": 1250,
        "currency": "EUR",
        "lines": lines,
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "lines", "address", "changed"),
    [
        ({"lines": CUPS}, CUPS, "", ("lines",)),
        ({"shipping_address": ADDRESS}, TEA, ADDRESS, ("shipping_address",)),
        (
            {"lines": CUPS, "shipping_address": ADDRESS},
            CUPS,
            ADDRESS,
            ("lines", "shipping_address"),
        ),
        ({"lines": TEA, "shipping_address": ADDRESS}, TEA, ADDRESS, ("shipping_address",)),
    ],
)
def test_a_change_is_the_state_and_its_event(
    given: dict[str, Any], lines: tuple[Line, ...], address: str, changed: Any
) -> None:
    order = created()
    modified, event_id = modify(order, **given)
    order = Order.objects.get(id=order.id)
    assert modified == order
    assert (order.status, order.modified_at, order.shipping_address) == ("modified", LATER, address)
    assert order.as_lines() == modified.as_lines() == lines
    assert [line.position for line in order.lines.all()] == list(range(1, len(lines) + 1))
    assert event_id is not None
    event = OutboxEvent.objects.get(id=event_id)
    assert (event.key, event.number, event.occurred_at, event.owner) == (
        str(order.id),
        2,
        LATER,
        str(MERCHANT),
    )
    payload = bytes(event.payload)
    assert OrderModified.from_json(payload) == OrderModified(**facts(order, lines), changed=changed)
    # Where somebody lives is told to nobody.
    assert "glise" not in payload.decode()


@pytest.mark.django_db
def test_an_order_is_changed_as_often_as_needed() -> None:
    order = created(lines=())
    for number, lines in enumerate((CUPS, TEA, CUPS), start=1):
        modify(order, lines=lines, at=AT + timedelta(hours=number))
    assert Order.objects.get(id=order.id).as_lines() == CUPS
    assert Order.objects.get(id=order.id).modified_at == AT + timedelta(hours=3)
    assert told(order) == ["Created", "Modified", "Modified", "Modified"]


@pytest.mark.django_db
@pytest.mark.parametrize("given", [{"lines": TEA}, {"shipping_address": ADDRESS}, {}])
def test_a_change_of_nothing_does_nothing(given: dict[str, Any]) -> None:
    order = created()
    modify(order, shipping_address=ADDRESS)
    before = rows()
    unchanged, event_id = modify(order, **given, at=LATER + timedelta(hours=1))
    assert (unchanged.modified_at, event_id) == (LATER, None)
    assert rows() == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("lines", "sum_"),
    [
        ((*CUPS, *TEA), "25.00"),
        ((), "0.00"),
        ((Line(sku="tea", quantity=10**6, unit_price_minor=10**15),), "10000000000000000000.00"),
    ],
)
def test_another_total_is_refused_with_both_sums_and_changes_nothing(
    lines: tuple[Line, ...], sum_: str
) -> None:
    order = created()
    before = rows()
    with pytest.raises(LinesDoNotAddUp, match=rf"{sum_} EUR, but the total of the order is 12\.50 EUR"):
        modify(order, lines=lines, shipping_address=ADDRESS)
    assert rows() == before


@pytest.mark.django_db
def test_an_order_of_lines_that_do_not_add_up_is_refused_for_good() -> None:
    with pytest.raises(LinesDoNotAddUp) as refusal:
        created(lines=(*TEA, *CUPS))
    assert isinstance(refusal.value, NonRecoverable)
    assert rows() == ([], [], 0)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{}, {"lines": CUPS}])
def test_a_cancellation_is_the_state_its_reason_and_its_event(change: dict[str, Any]) -> None:
    order = created()
    modify(order, **change)
    _, event_id = cancel(order, reason="Kein Vorrat 😢")
    order = Order.objects.get(id=order.id)
    assert (order.status, order.cause, order.reason) == ("cancelled", "command", "Kein Vorrat 😢")
    assert (order.cancelled_at, order.modified_at) == (LATER, LATER if change else None)
    event = OutboxEvent.objects.get(id=event_id)
    assert (event.key, event.occurred_at, event.owner) == (str(order.id), LATER, str(MERCHANT))
    payload = bytes(event.payload)
    lines = change.get("lines", TEA)
    assert OrderCancelled.from_json(payload) == OrderCancelled(**facts(order, lines), cause="command")
    assert b"Vorrat" not in payload


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("act", "message"),
    [
        (cancel, "is cancelled; it cannot be cancelled any more"),
        (partial(modify, lines=CUPS), "is cancelled; it cannot be modified any more"),
        (partial(modify, lines=TEA), "is cancelled; it cannot be modified any more"),
        (partial(modify, lines=()), "is cancelled; it cannot be modified any more"),
    ],
)
def test_a_cancelled_order_stays_as_it_is(act: Callable[[Order], Any], message: str) -> None:
    order = cancelled()
    before = rows()
    with pytest.raises(TransitionForbidden, match=message) as refusal:
        act(order)
    assert refusal.value.code == "transition_forbidden"
    assert rows() == before


@pytest.mark.django_db
@pytest.mark.parametrize("act", [partial(modify, lines=CUPS), cancel])
def test_another_merchants_order_is_not_found_and_none_acts_for_all(act: Callable[..., Any]) -> None:
    order = created()
    for merchant_id, order_id in ((uuid4(), order.id), (MERCHANT, uuid4())):
        with pytest.raises(OrderNotFound):
            act(order, merchant_id=merchant_id, order_id=order_id)
    assert act(order, merchant_id=None)[0].status in {"modified", "cancelled"}


@pytest.mark.django_db
def test_what_is_too_long_for_its_column_leaves_nothing() -> None:
    order = created()
    before = rows()
    for act in (partial(modify, lines=CUPS, shipping_address="x" * 501), partial(cancel, reason="x" * 501)):
        with pytest.raises(DataError), transaction.atomic():
            act(order)
    assert rows() == before


# Of those that meet, one wins


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_", range(5))
def test_a_change_that_meets_a_cancellation_comes_before_it_or_not_at_all(_: int) -> None:
    order = created()
    changed, given_up = at_once(partial(modify, order, lines=CUPS), partial(cancel, order))
    assert isinstance(given_up, tuple)
    after = Order.objects.get(id=order.id)
    assert after.status == "cancelled"
    last = OutboxEvent.objects.get(id=given_up[1])
    if isinstance(changed, TransitionForbidden):
        assert (told(order), after.as_lines(), after.modified_at) == (["Created", "Cancelled"], TEA, None)
    else:
        assert (told(order), after.as_lines()) == (["Created", "Modified", "Cancelled"], CUPS)
    # What was cancelled is what the order was at that moment.
    assert OrderCancelled.from_json(bytes(last.payload)).lines == after.as_lines()  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_changes_at_once_come_one_after_the_other() -> None:
    order = created()
    results = at_once(
        *[partial(modify, order, lines=CUPS), partial(modify, order, lines=TEA[::-1])] * 3,
        partial(modify, order, shipping_address=ADDRESS),
    )
    assert all(isinstance(result, tuple) for result in results), results
    after = Order.objects.get(id=order.id)
    assert after.as_lines() in (TEA, CUPS)
    assert after.shipping_address == ADDRESS
    events = [event_id for _, event_id in results if event_id is not None]
    assert len(told(order)) == 1 + len(events)
    last = OutboxEvent.objects.filter(key=str(order.id)).order_by("number").last()
    assert last is not None
    assert OrderModified.from_json(bytes(last.payload)).lines == after.as_lines()  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_an_order_that_was_read_or_changed_shows_the_lines_of_that_moment() -> None:
    """Another's change a moment later belongs to another's answer."""
    order = created()
    read, listed = get_order(order_id=order.id, merchant_id=None), orders_seen_by(merchant_id=MERCHANT)[0]
    changed, _ = modify(order, lines=CUPS)
    addressed, _ = modify(order, shipping_address=ADDRESS)
    modify(order, lines=TEA[::-1])
    assert [read.as_lines(), listed.as_lines()] == [TEA, TEA]
    assert [changed.as_lines(), addressed.as_lines()] == [CUPS, CUPS]
    given_up, _ = cancel(order)
    assert given_up.as_lines() == TEA


@pytest.mark.django_db
def test_orders_and_their_lines_are_read_in_one_statement(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    created(), created(lines=CUPS), created(lines=())
    with django_assert_num_queries(1):
        assert {order.as_lines() for order in orders_seen_by(merchant_id=None)} == {(), CUPS, TEA}


@pytest.mark.django_db(transaction=True)
def test_of_many_cancellations_at_once_one_wins() -> None:
    order = created()
    results = at_once(*[partial(cancel, order, reason=f"{number}") for number in range(8)])
    assert Counter(type(result) for result in results) == {tuple: 1, TransitionForbidden: 7}
    assert told(order) == ["Created", "Cancelled"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_", range(5))
def test_of_a_cancellation_and_a_refund_one_cancels_and_neither_fails_the_consumer(_: int) -> None:
    order = created()
    by_command, by_refund = at_once(
        partial(cancel, order),
        partial(services.cancel_refunded_order, payment_id=order.payment_id, merchant_id=MERCHANT, at=LATER),
    )
    cause = Order.objects.get(id=order.id).cause
    if cause == "command":
        assert (by_command[0], by_refund) == (order, None)
    else:
        assert isinstance(by_command, TransitionForbidden)
        assert isinstance(by_refund, UUID)
    assert told(order) == ["Created", "Cancelled"]


# Time goes forward


@pytest.mark.django_db(transaction=True)
def test_of_changes_that_wait_for_each_other_none_is_earlier_than_the_one_before() -> None:
    order = created(at=clock.now())
    asked = [partial(modify, order, at=None, shipping_address=f"Street {number}") for number in range(12)]
    results = at_once(*asked * 2)
    assert all(isinstance(result, tuple) for result in results), results
    times = list(OutboxEvent.objects.order_by("number").values_list("occurred_at", flat=True))
    assert times == sorted(times)
    assert Order.objects.get(id=order.id).modified_at == times[-1]


@pytest.mark.django_db
def test_nothing_happens_to_an_order_before_what_happened_to_it_already() -> None:
    """Whatever a caller says, and however far the clocks of two processes lie apart."""
    order = created()
    assert modify(order, shipping_address="a", at=AT - timedelta(seconds=1))[0].modified_at == AT
    modify(order, shipping_address="b", at=LATER)
    assert modify(order, shipping_address="c", at=AT)[0].modified_at == LATER
    order, event_id = cancel(order, at=AT)
    assert (order.modified_at, order.cancelled_at) == (LATER, LATER)
    assert OutboxEvent.objects.get(id=event_id).occurred_at == LATER
    other = created(at=LATER)
    services.cancel_refunded_order(payment_id=other.payment_id, merchant_id=MERCHANT, at=AT)
    other.refresh_from_db()
    assert other.cancelled_at == LATER


# What the consumer does


def refunded(order: Order, *, cause: str = "command", **given: Any) -> PaymentRefunded:
    known: dict[str, Any] = {
        "payment_id": order.payment_id,
        "merchant_id": MERCHANT,
        "customer_id": "c-1",
        "amount_minor": 1250,
        "currency": "EUR",
        "cause": cause,
    }
    return PaymentRefunded(**known | given)


@pytest.mark.django_db
def test_a_refund_cancels_its_order_once(caplog: pytest.LogCaptureFixture) -> None:
    order = created()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            cancel_refunded_order(delivered(refunded(order)))
    after = Order.objects.get(id=order.id)
    assert (after.status, after.cause, after.reason) == ("cancelled", "payment_refunded", "")
    assert told(order) == ["Created", "Cancelled"]
    event = OutboxEvent.objects.get(key=str(order.id), number=2)
    assert OrderCancelled.from_json(bytes(event.payload)) == OrderCancelled(
        **facts(order, TEA), cause="payment_refunded"
    )
    assert event.owner == str(MERCHANT)
    assert "cancelled already" in caplog.text


@pytest.mark.django_db
def test_a_cancellation_that_refunded_is_not_answered_by_another() -> None:
    """Not even of an order that could be: the cause alone stops it."""
    order = created()
    cancel_refunded_order(delivered(refunded(order, cause="order_cancelled")))
    assert told(order) == ["Created"]


@pytest.mark.django_db
@pytest.mark.parametrize("given", [{"payment_id": uuid4()}, {"merchant_id": uuid4()}])
def test_a_refund_of_what_has_no_order_does_nothing_and_says_so(
    given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    order = created()
    before = rows()
    cancel_refunded_order(delivered(refunded(order, **given)))
    assert rows() == before
    assert "has no order here" in caplog.text


# What the database itself refuses


CANCELLED: dict[str, Any] = {
    "status": "cancelled",
    "cancelled_at": LATER,
    "cause": "command",
    "reason": "no",
}
MODIFIED: dict[str, Any] = {"status": "modified", "modified_at": LATER}
EARLIER = AT - timedelta(microseconds=1)


def modified() -> Order:
    return modify(created(), shipping_address=ADDRESS)[0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "change", "rule"),
    [
        (created, {"modified_at": LATER}, "orders_modified_at_fits_status"),
        (created, {"status": "modified"}, "orders_modified_at_fits_status"),
        (created, {"cancelled_at": LATER}, "orders_cancelled_at_iff_cancelled"),
        (created, CANCELLED | {"cancelled_at": None}, "orders_cancelled_at_iff_cancelled"),
        (created, CANCELLED | {"cause": "", "reason": ""}, "orders_cause_iff_cancelled"),
        (created, CANCELLED | {"cause": "whim", "reason": ""}, "orders_cause_iff_cancelled"),
        (created, {"cause": "payment_refunded"}, "orders_cause_iff_cancelled"),
        (created, CANCELLED | {"reason": ""}, "orders_reason_iff_command"),
        (created, CANCELLED | {"cause": "payment_refunded"}, "orders_reason_iff_command"),
        (created, CANCELLED | {"reason": "a\nb"}, "orders_reason_has_no_controls"),
        (created, MODIFIED | {"shipping_address": "a\tb"}, "orders_address_has_no_controls"),
        (created, MODIFIED | {"shipping_address": "a\r\nb"}, "orders_address_has_no_controls"),
        (created, MODIFIED | {"shipping_address": "a\x9fb"}, "orders_address_has_no_controls"),
        (created, {"total_minor": 1}, "orders_facts_are_final"),
        (created, {"payment_id": uuid4()}, "orders_facts_are_final"),
        (created, {"merchant_id": uuid4()}, "orders_facts_are_final"),
        (
            lambda: modify(created(), lines=CUPS)[0],
            {"status": "created", "modified_at": None},
            "orders_transition_is_lawful",
        ),
        (
            cancelled,
            {"status": "created", "cancelled_at": None, "cause": "", "reason": ""},
            "orders_cancelled_is_final",
        ),
        (cancelled, {"shipping_address": ADDRESS}, "orders_cancelled_is_final"),
        (created, {"status": "modified", "modified_at": EARLIER}, "orders_times_go_forward"),
        (created, CANCELLED | {"cancelled_at": EARLIER}, "orders_times_go_forward"),
        (modified, {"modified_at": AT}, "orders_times_go_forward"),
        (modified, CANCELLED | {"cancelled_at": AT}, "orders_times_go_forward"),
        (modified, CANCELLED | {"modified_at": AT}, "orders_history_is_final"),
        (created, CANCELLED | {"modified_at": LATER}, "orders_history_is_final"),
    ],
)
def test_the_database_itself_refuses_what_cannot_be(
    make: Callable[[], Order], change: dict[str, Any], rule: str
) -> None:
    order = make()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        Order.objects.filter(id=order.id).update(**change)
    assert rule_of(refusal.value) == rule


@pytest.mark.django_db
@pytest.mark.parametrize("change", [CANCELLED, MODIFIED])
def test_the_database_itself_lets_orders_begin_as_created_and_stay(change: dict[str, Any]) -> None:
    order = created(lines=())
    row = Order.objects.filter(id=order.id).values().get()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        Order.objects.create(**row | {"id": uuid4(), "payment_id": uuid4()} | change)
    assert rule_of(refusal.value) == "orders_begin_created"
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        order.delete()
    assert rule_of(refusal.value) == "orders_stay"
    assert Order.objects.filter(id=row["id"]).exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("make", "write", "rule"),
    [
        (created, lambda lines: lines.update(quantity=3), "orders_lines_add_up"),
        (created, lambda lines: lines.filter(sku="cup").delete(), "orders_lines_add_up"),
        (
            created,
            lambda lines: lines.create(position=9, sku="x", quantity=1, unit_price_minor=1),
            "orders_lines_add_up",
        ),
        (
            # More than a bigint can hold is a wrong sum like any other.
            created,
            lambda lines: lines.update(quantity=10**6, unit_price_minor=10**15),
            "orders_lines_add_up",
        ),
        (created, lambda lines: lines.all().delete(), "orders_lines_are_replaced"),
        (created, lambda lines: lines.update(order=created().id), "orders_lines_are_not_moved"),
        (cancelled, lambda lines: lines.update(sku="x"), "orders_cancelled_is_final"),
        (cancelled, lambda lines: lines.all().delete(), "orders_cancelled_is_final"),
    ],
)
def test_the_database_itself_refuses_lines_that_cannot_be(
    make: Callable[[], Order], write: Callable[[Any], Any], rule: str
) -> None:
    order = make()
    if rule == "orders_lines_add_up":
        modify(order, lines=CUPS)
    before = rows()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        write(order.lines)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as COMMIT does
    assert rule_of(refusal.value) == rule
    assert rows() == before


def rule_of(error: IntegrityError) -> str | None:
    """The constraint that the database names."""
    assert isinstance(error.__cause__, psycopg.errors.IntegrityError)
    return error.__cause__.diag.constraint_name
