"""A payment's timeline: read from the services' events, and from the rows that say how things stand now."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from contracts.topics import LOYALTY, ORDERS, PAYMENTS
from loyalty.selectors import points_of
from orders.models import Order
from orders.selectors import orders_seen_by
from outbox.models import OutboxEvent
from outbox.selectors import PENDING, Trace, events_seen_by, traces
from payments.models import Payment
from payments.selectors import get_payment

# An order may be changed as often as its merchant likes: of its events the first and these latest are told.
MOST_OF_AN_ORDER = 200


@dataclass(frozen=True, slots=True)
class Entry(Trace):
    """An event of the timeline, with where it went and what each consumer made of it."""

    @property
    def at(self) -> datetime:
        """When it happened."""
        return self.event.occurred_at

    @property
    def service(self) -> str:
        """Who published it: the first word of its type."""
        return self.event.type.partition(".")[0]

    @property
    def under_way(self) -> bool:
        """Whether the relay or a consumer has yet to come to it."""
        return not self.publications or any(reception.status == PENDING for reception in self.consumers)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A payment with all that happened to it, causes before what they caused.

    order    None while there is none
    points   earned less reversed; None while none were entered
    omitted  changes of the order that are left out between its first event and its latest
    """

    payment: Payment
    order: Order | None
    points: int | None
    entries: Sequence[Entry]
    omitted: int = 0

    @property
    def under_way(self) -> bool:
        """Whether anything may still follow by itself."""
        return any(entry.under_way for entry in self.entries)


def get_timeline(*, payment_id: UUID, merchant_id: UUID | None) -> Timeline:
    """The timeline as this merchant, or whoever sees all (None), sees it. Raises PaymentNotFound.

    All of it as of one moment: what a consumer has processed is never told without what it did. At most
    twelve queries, each by an index; their cost is that of the payment's own events, however many its
    customer has.
    """
    with _one_moment():
        return _timeline(get_payment(payment_id=payment_id, merchant_id=merchant_id))


@contextmanager
def _one_moment() -> Iterator[None]:
    """Reads inside see one snapshot; inside a transaction, what that one sees."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _timeline(payment: Payment) -> Timeline:
    order = orders_seen_by(merchant_id=payment.merchant_id).filter(payment_id=payment.id).first()
    told = events_seen_by(owner=str(payment.merchant_id)).order_by("-number")
    changes, omitted = _events_of_order(told, order) if order else ([], 0)
    events = [*told.filter(topic=PAYMENTS.name, key=str(payment.id)), *changes]
    events += _events_of_account(told, payment, events)
    entries = [
        Entry(trace.event, trace.publications, trace.consumers) for trace in traces(in_causal_order(events))
    ]
    return Timeline(payment, order, points_of(payment_id=payment.id), entries, omitted)


def _events_of_order(told: QuerySet[OutboxEvent], order: Order) -> tuple[list[OutboxEvent], int]:
    """The order's events, and how many of them are left out."""
    own = told.filter(topic=ORDERS.name, key=str(order.id))
    events = list(own[:MOST_OF_AN_ORDER])
    omitted = max((events[-1].number or 1) - 2, 0) if events else 0
    if events and events[-1].number != 1:
        events += own.filter(number=1)
    return events, omitted


def _events_of_account(
    told: QuerySet[OutboxEvent], payment: Payment, events: list[OutboxEvent]
) -> list[OutboxEvent]:
    """The points that followed from these events.

    An account's key holds the events of all its payments. Those of this one continue the stories of the
    events that caused them, and stories are short where keys are long.
    """
    if not events:
        return []
    account = told.filter(
        topic=LOYALTY.name,
        key=f"{payment.merchant_id}:{payment.customer_id}",
        correlation_id__in={event.correlation_id for event in events},
        causation_id__in=[event.id for event in events],
        id__gte=min(event.id for event in events),
    )
    return list(account)


def in_causal_order(events: Iterable[OutboxEvent]) -> list[OutboxEvent]:
    """By time, but never an event before its cause or before an earlier one of its key.

    The clocks of several processes may disagree by a moment; causes and numbers never do.
    """
    by_id = {event.id: event for event in events}
    followers: dict[UUID, list[UUID]] = defaultdict(list)
    waits_for = dict.fromkeys(by_id, 0)
    for earlier, later in _precedences(by_id):
        followers[earlier].append(later)
        waits_for[later] += 1
    ready = [(by_id[each].occurred_at, each) for each, count in waits_for.items() if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, each = heapq.heappop(ready)
        ordered.append(by_id[each])
        for follower in followers[each]:
            waits_for[follower] -= 1
            if not waits_for[follower]:
                heapq.heappush(ready, (by_id[follower].occurred_at, follower))
    return ordered


def _precedences(by_id: dict[UUID, OutboxEvent]) -> Iterable[tuple[UUID, UUID]]:
    last: dict[tuple[str, str | None], UUID] = {}
    for event in sorted(by_id.values(), key=lambda event: (event.number or 0, event.id)):
        if event.causation_id in by_id and event.causation_id != event.id:
            yield event.causation_id, event.id
        place = (event.topic, event.key)
        if place in last:
            yield last[place], event.id
        last[place] = event.id
