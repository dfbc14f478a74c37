"""All commands in any order, all events late, in batches and repeated: the real domain against a model of it.

The services, the outbox and the consumers' processing are the real ones, on a real PostgreSQL. Only the way
between outbox and consumer is ours, so that hypothesis can choose who hears of what, and when.
"""

import json
from collections import Counter, defaultdict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings
from django.db.models import Max, Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from analytics.models import PublishedTotal, Slot
from analytics.services import close_slots
from analytics.slots import SLOTS
from contracts.fields import Line
from contracts.money import Money
from loyalty.models import LedgerEntry
from loyalty.points import points_for
from orders.errors import OrderError
from orders.models import Order
from orders.services import cancel_order, modify_order
from outbox.models import DeadLetter, OutboxEvent, ParkedKey, WaitingEvent
from outbox.registry import all_consumers
from payments import services as payments
from payments.errors import PaymentError
from payments.models import Payment as PaymentRow
from tests.integration.domain.log import Log, payment_of
from tests.integration.domain.model import Model, Payment

CONSUMERS = sorted(consumer.name for consumer in all_consumers())
ACTIONS = [
    "request", "validate", "validate", "reject", "refund", "modify", "cancel", "expire", "time passes",
    "close slots", *["deliver"] * 5, "deliver again",
]  # fmt: skip
STATUS = {"Requested": "pending", "Validated": "validated", "Rejected": "rejected", "Refunded": "refunded"}

some = st.integers(min_value=0, max_value=1_000)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a customer wants to pay; the sum of the lines, if there are any."""

    customer: str
    amount: int
    currency: str
    lines: tuple[Line, ...]


wanted = st.builds(
    Wanted,
    customer=st.sampled_from(["a", "b"]),
    amount=st.integers(1, 10**15),
    currency=st.sampled_from(["EUR", "JPY", "BHD"]),
    lines=st.lists(
        st.builds(
            Line,
            sku=st.sampled_from(["tea", "Käse 🧀", "x" * 100]),
            quantity=st.integers(1, 1_000_000),
            unit_price_minor=st.integers(1, 10**8),
        ),
        max_size=3,
    ).map(tuple),
)


class Domain(RuleBasedStateMachine):
    """One merchant's whole life. Time passes only when a rule says so, in a past that is over."""

    @initialize()
    def begin(self) -> None:
        self.merchant = uuid4()
        # Volumes are everyone's as well: those of the examples before are not this one's.
        Slot.objects.all().delete()
        PublishedTotal.objects.all().delete()
        self.before = OutboxEvent.objects.aggregate(last=Max("position", default=0))["last"]
        self.model = Model()
        self.log = Log(str(self.merchant))
        self.now = datetime.now(UTC) - timedelta(days=60)
        for lines in ((), (Line(sku="tea", quantity=2, unit_price_minor=625),)):
            self.request(Wanted(customer="a", amount=1, currency="EUR", lines=lines))
            self.validate(self.pick(-1))

    @rule(action=st.sampled_from(ACTIONS), which=some, count=st.integers(1, 6), drawn=st.data())
    def step(self, action: str, which: int, count: int, drawn: st.DataObject) -> None:
        """One command or delivery. Hypothesis leaves whole rules out of an example: so there is only one."""
        match action:
            case "time passes":
                self.now += timedelta(minutes=which)
            case "request":
                self.request(drawn.draw(wanted))
            case "expire":
                payments.expire_due_payments(at=self.now, limit=10_000)
                self.model.expire(at=self.now)
            case "close slots":
                close_slots(at=self.now, limit=1_000)
            case "validate" | "reject" | "refund":
                getattr(self, action)(self.pick(which))
            case "modify" | "cancel" if self.ordered():
                getattr(self, action)(self.ordered()[which % len(self.ordered())])
            case "deliver again" if self.log.partitions:
                places = sorted(self.log.partitions)
                consumer = drawn.draw(st.sampled_from(CONSUMERS))
                self.hand_over(consumer, places[which % len(places)], count=0, again=20)
            case "deliver":
                self.log.fill()
                consumer = drawn.draw(st.sampled_from(CONSUMERS))
                places = self.log.waiting(consumer)
                if places:
                    again = drawn.draw(st.integers(0, 6))
                    self.hand_over(consumer, places[which % len(places)], count=count, again=again)

    def request(self, asked: Wanted) -> None:
        amount, lines = asked.amount, asked.lines
        if lines:
            amount = sum(line.quantity * line.unit_price_minor for line in lines)
        payment, _ = payments.request_payment(
            merchant_id=self.merchant,
            customer_id=asked.customer,
            money=Money(amount, asked.currency),
            lines=lines,
            at=self.now,
        )
        self.model.request(
            Payment(
                id=payment.id,
                customer_id=asked.customer,
                amount_minor=amount,
                currency=asked.currency,
                lines=lines,
                expires_at=self.now + timedelta(seconds=django_settings.PAYMENTS_EXPIRE_AFTER),
            )
        )

    def validate(self, payment: Payment) -> None:
        with self.refused_unless(self.model.may_validate(payment, at=self.now), PaymentError):
            payments.validate_payment(payment_id=payment.id, merchant_id=self.merchant, at=self.now)
            self.model.validate(payment)

    def reject(self, payment: Payment) -> None:
        with self.refused_unless(payment.status == "pending", PaymentError):
            payments.reject_payment(payment_id=payment.id, merchant_id=None, reason="no", at=self.now)
            self.model.reject(payment)

    def refund(self, payment: Payment) -> None:
        with self.refused_unless(payment.status == "validated", PaymentError):
            payments.refund_payment(payment_id=payment.id, merchant_id=None, reason="no", at=self.now)
            self.model.refund(payment)

    def modify(self, payment: Payment) -> None:
        """To one line, or from one line to two."""
        new: tuple[Line, ...] = (Line(sku="all", quantity=1, unit_price_minor=payment.amount_minor),)
        if payment.order_lines == new and payment.amount_minor > 1:
            new = (
                Line(sku="one", quantity=1, unit_price_minor=1),
                Line(sku="rest", quantity=1, unit_price_minor=payment.amount_minor - 1),
            )
        with self.refused_unless(payment.order != "cancelled", OrderError):
            _, event_id = modify_order(
                order_id=self.order_of(payment), merchant_id=self.merchant, at=self.now, lines=new
            )
            assert (event_id is None) == (payment.order_lines == new)
            if event_id is not None:
                self.model.modify(payment, new)

    def cancel(self, payment: Payment) -> None:
        with self.refused_unless(payment.order != "cancelled", OrderError):
            cancel_order(order_id=self.order_of(payment), merchant_id=self.merchant, reason="no", at=self.now)
            self.model.cancel(payment)

    @staticmethod
    def refused_unless(allowed: bool, error: type[Exception]) -> AbstractContextManager[object]:
        return nullcontext() if allowed else pytest.raises(error)

    @staticmethod
    def order_of(payment: Payment) -> UUID:
        return Order.objects.get(payment_id=payment.id).id

    def hand_over(self, consumer: str, place: tuple[str, int], *, count: int, again: int) -> None:
        for type_, payment_id in self.log.deliver(consumer, place, count=count, again=again):
            self.model.delivered(consumer, type_, self.model.payments[payment_id])

    # What must hold

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        self.let_all_arrive()
        self.check_events()
        self.check_payments()
        self.check_orders()
        self.check_points()
        self.check_volumes()
        self.check_totals()
        for table in (DeadLetter, ParkedKey, WaitingEvent):
            assert not table.objects.exists()

    def let_all_arrive(self) -> None:
        """Until nothing follows any more: compensation must come to an end by itself."""
        for _ in range(10):
            self.log.fill()
            left = [(name, place) for name in CONSUMERS for place in self.log.waiting(name)]
            if not left:
                return
            for name, place in left:
                self.hand_over(name, place, count=1_000, again=3)
        pytest.fail("Events go on causing events.")

    def check_events(self) -> None:
        published = OutboxEvent.objects.filter(owner=str(self.merchant))
        assert Counter((payment_of(event), event.type) for event in published) == self.model.events

    def check_payments(self) -> None:
        rows = {row.id: row for row in PaymentRow.objects.filter(merchant_id=self.merchant)}
        assert {one: row.status for one, row in rows.items()} == {
            one.id: one.status for one in self.model.payments.values()
        }
        assert all(rows[one.id].amount_minor == one.amount_minor for one in self.model.payments.values())

    def check_orders(self) -> None:
        """An order for every payment that was ever validated, cancelled if and only if that was refunded."""
        orders = Order.objects.filter(merchant_id=self.merchant).prefetch_related("lines")
        assert {
            order.payment_id: (
                order.status,
                [(line.sku, line.quantity, line.unit_price_minor) for line in order.lines.all()],
            )
            for order in orders
        } == {
            one.id: (
                one.order,
                [(line.sku, line.quantity, line.unit_price_minor) for line in one.order_lines],
            )
            for one in self.ordered()
        }
        for one in self.model.payments.values():
            assert (one.order is not None) == (one.status in {"validated", "refunded"})
            assert (one.order == "cancelled") == (one.status == "refunded")

    def check_points(self) -> None:
        expected: dict[str, int] = defaultdict(int)
        for one in self.model.payments.values():
            assert one.earned == (one.order is not None)
            assert one.reversed == (one.status == "refunded")
            if one.status == "validated":
                rate = django_settings.LOYALTY_POINTS_PER_UNIT
                expected[one.customer_id] += points_for(
                    Money(one.amount_minor, one.currency), points_per_unit=rate
                )
        balances = LedgerEntry.objects.filter(account__merchant_id=self.merchant).values_list(
            "account__customer_id"
        )
        found = {customer: total for customer, total in balances.annotate(total=Sum("points")) if total}
        assert found == {customer: total for customer, total in expected.items() if total}

    def check_volumes(self) -> None:
        """Count and amount of every minute, currency and status, and the same sums in every wider slot."""
        expected: dict[tuple[datetime, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for event in OutboxEvent.objects.filter(owner=str(self.merchant), topic="payments"):
            one = self.model.payments[payment_of(event)]
            status = STATUS[event.type.split(".")[1].removeprefix("Payment")]
            slot = expected[event.occurred_at.replace(second=0, microsecond=0), one.currency, status]
            slot[0] += 1
            slot[1] += one.amount_minor
        mine = Slot.objects.filter(merchant_id=self.merchant)
        assert {
            (slot.slot_start, slot.currency, slot.status): [slot.count, slot.amount_minor]
            for slot in mine.filter(width="1m")
        } == expected
        sums = mine.values_list("width", "currency", "status").annotate(
            counts=Sum("count"), amounts=Sum("amount_minor")
        )
        by_width: dict[str, set[tuple[object, ...]]] = defaultdict(set)
        for width, *rest in sums:
            by_width[width].add(tuple(rest))
        if expected:
            assert sorted(by_width) == ["15m", "1d", "1h", "1m", "5m"]
            assert all(found == by_width["1m"] for found in by_width.values())

    def check_totals(self) -> None:
        """Everyone's slots are those of the only merchant, and so is what was published last."""
        columns = ("width", "slot_start", "currency", "status", "count", "amount_minor")
        everyones = set(Slot.objects.of(None).values_list(*columns))
        assert everyones == set(Slot.objects.of(self.merchant).values_list(*columns))
        while close_slots(at=datetime.now(UTC) + timedelta(days=2), limit=1_000):
            pass
        told = OutboxEvent.objects.filter(topic="payment-volumes", position__gt=self.before).order_by(
            "number"
        )
        last = {event.key: json.loads(bytes(event.payload)) for event in told}
        assert {
            (one["slot"], datetime.fromisoformat(one["slot_start"]), one["currency"], *total.values())
            for one in last.values()
            for total in one["totals"]
        } == {row for row in everyones if row[0] in SLOTS}

    def pick(self, which: int) -> Payment:
        return list(self.model.payments.values())[which % len(self.model.payments)]

    def ordered(self) -> list[Payment]:
        """The payments whose orders exist already."""
        return [one for one in self.model.payments.values() if one.order is not None]


@pytest.mark.django_db(transaction=True)
def test_money_points_and_volumes_are_exact_whatever_happens_in_whatever_order() -> None:
    run_state_machine_as_test(
        Domain,
        settings=settings(
            max_examples=50,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
