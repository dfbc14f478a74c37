"""A refund cancels and a cancellation refunds, once each, whoever begins and whoever is away."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from orders.errors import TransitionForbidden as OrderTransitionForbidden
from orders.models import Order
from orders.services import cancel_order
from outbox import clock
from outbox.ids import new_id
from outbox.models import DeadLetter, OutboxEvent
from outbox.processor import Processor
from outbox.registry import get_consumer
from payments.errors import TransitionForbidden as PaymentTransitionForbidden
from payments.models import Payment
from payments.services import refund_payment
from tests.integration.at_once import at_once
from tests.integration.compensation.world import CONSUMERS, World, as_record, assert_undone

pytestmark = pytest.mark.django_db(transaction=True)
ORDERS = list(permutations(CONSUMERS))


@pytest.fixture
def world() -> World:
    return World()


def refund(payment: Payment) -> Any:
    return refund_payment(
        payment_id=payment.id, merchant_id=payment.merchant_id, reason="sorry", at=clock.now()
    )


def cancel(payment: Payment) -> Any:
    order = Order.objects.get(payment_id=payment.id)
    return cancel_order(order_id=order.id, merchant_id=payment.merchant_id, reason="no stock", at=clock.now())


@pytest.mark.parametrize("hear", ORDERS, ids=" ".join)
def test_a_refund_cancels_the_order_and_takes_the_points_back(world: World, hear: tuple[str, ...]) -> None:
    payment = world.validated()
    world.settle(*hear)
    refund(payment)
    world.settle(*hear)
    assert_undone(world, payment)
    assert world.causes() == {"PaymentRefunded": "command", "OrderCancelled": "payment_refunded"}


@pytest.mark.parametrize("hear", ORDERS, ids=" ".join)
def test_a_cancellation_refunds_the_payment_and_takes_the_points_back(
    world: World, hear: tuple[str, ...]
) -> None:
    payment = world.validated()
    world.settle(*hear)
    cancel(payment)
    world.settle(*hear)
    assert_undone(world, payment)
    assert world.causes() == {"PaymentRefunded": "order_cancelled", "OrderCancelled": "command"}


@pytest.mark.parametrize("hear", ORDERS, ids=" ".join)
def test_both_before_either_has_heard_of_the_other(world: World, hear: tuple[str, ...]) -> None:
    payment = world.validated()
    world.settle(*hear)
    refund(payment)
    cancel(payment)
    world.settle(*hear)
    assert_undone(world, payment)
    assert world.causes() == {"PaymentRefunded": "command", "OrderCancelled": "command"}


@pytest.mark.parametrize("_", range(4))
def test_both_at_the_same_moment(world: World, _: int) -> None:
    payment = world.validated()
    world.settle()
    assert all(
        isinstance(done, tuple) for done in at_once(partial(refund, payment), partial(cancel, payment))
    )
    # And their events, too, are handled at the same moment.
    at_once(*[partial(world.deliver, consumer) for consumer in CONSUMERS])
    world.settle()
    assert_undone(world, payment)


@pytest.mark.parametrize("_", range(4))
@pytest.mark.parametrize(
    ("first", "second", "consumer"), [(cancel, refund, "payments"), (refund, cancel, "orders")]
)
def test_a_command_that_meets_the_event_that_does_the_same(
    world: World, first: Callable[[Payment], Any], second: Callable[[Payment], Any], consumer: str, _: int
) -> None:
    payment = world.validated()
    world.settle()
    first(payment)
    delivered, commanded = at_once(partial(world.deliver, consumer), partial(second, payment))
    assert delivered == 1
    assert isinstance(commanded, tuple | OrderTransitionForbidden | PaymentTransitionForbidden)
    world.settle()
    assert_undone(world, payment)


@pytest.mark.parametrize("hear", ORDERS, ids=" ".join)
def test_a_refund_before_the_order_exists(world: World, hear: tuple[str, ...]) -> None:
    payment = world.validated()
    refund(payment)
    world.settle(*hear)
    assert_undone(world, payment)


@pytest.mark.parametrize("undo", [refund, cancel])
@pytest.mark.parametrize("earned_before", [False, True])
def test_undone_while_loyalty_is_down(
    world: World, undo: Callable[[Payment], Any], earned_before: bool
) -> None:
    payment = world.validated()
    if earned_before:
        world.deliver("loyalty")
    world.settle("orders", "payments")
    undo(payment)
    world.settle("orders", "payments")
    payment.refresh_from_db()
    assert (payment.status, world.order_of(payment).status) == ("refunded", "cancelled")
    assert world.points() == ([12] if earned_before else [])
    world.settle("loyalty")
    assert_undone(world, payment)


def test_undone_while_payments_does_not_listen(world: World) -> None:
    """The order is cancelled at once; the money goes back when the consumer is there again."""
    payment = world.validated()
    world.settle("orders", "loyalty")
    cancel(payment)
    world.settle("orders", "loyalty")
    payment.refresh_from_db()
    assert (payment.status, world.points()) == ("validated", [12])
    world.settle()
    assert_undone(world, payment)


def test_what_follows_names_what_it_followed_from(world: World) -> None:
    """One story: the correlation of the command goes through, and each event names its parent."""
    payment = world.validated()
    world.settle()
    _, cancelled_id = cancel(payment)
    world.settle()
    refunded = OutboxEvent.objects.get(type="payments.PaymentRefunded.v1")
    reversed_ = OutboxEvent.objects.get(type="loyalty.PointsReversed.v1")
    assert (refunded.causation_id, reversed_.causation_id) == (cancelled_id, refunded.id)
    assert refunded.correlation_id == reversed_.correlation_id == cancelled_id


def test_one_payment_that_is_undone_leaves_the_others_alone(world: World) -> None:
    payments = [world.validated() for _ in range(3)]
    world.settle()
    cancel(payments[0])
    refund(payments[1])
    world.settle()
    states = []
    for payment in payments:
        payment.refresh_from_db()
        states.append((payment.status, world.order_of(payment).status))
    assert states == [("refunded", "cancelled"), ("refunded", "cancelled"), ("validated", "created")]
    assert sum(world.points()) == 12
    assert not DeadLetter.objects.exists()


def test_events_that_an_operator_sends_again_under_new_ids_undo_nothing_twice(world: World) -> None:
    """Not the same delivery again, which the inbox knows, but the same facts told anew."""
    payment = world.validated()
    world.settle()
    cancel(payment)
    world.settle()
    for consumer, type_ in (
        ("payments", "orders.OrderCancelled.v1"),
        ("orders", "payments.PaymentRefunded.v1"),
        ("loyalty", "payments.PaymentRefunded.v1"),
    ):
        repeat_as_new(consumer, OutboxEvent.objects.get(type=type_))
    world.settle()
    assert_undone(world, payment)


def repeat_as_new(consumer: str, event: OutboxEvent) -> None:
    """Hand the event over under another id, and without a place in its key's order."""
    event.id, event.number = new_id(event.occurred_at), None
    Processor(get_consumer(consumer)).run([replace(as_record(event), offset=event.position + 1_000_000)])
