"""The calls of handlers in one transaction of a consumer: one event each, or lists of what came together."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import UUID

from django.db import connections

from outbox.context import following
from outbox.delivery import Delivery
from outbox.fence import fenced
from outbox.inbox import Inbox, Key
from outbox.item import Item
from outbox.registry import Consumer, Route
from outbox.tracing import processing

Watch = Callable[[Route], AbstractContextManager[object]]


class Calls:
    """Gives events to their handlers, a key's in order.

    handling  the event that is in its handler's hands, or failed there, and its type
    """

    def __init__(self, consumer: Consumer, watch: Watch) -> None:
        self._consumer = consumer
        self._watch = watch
        self._gathered: dict[Callable[[Any], None], tuple[Route, list[Delivery[Any]]]] = {}
        self._gatherers: dict[Key, Callable[[Any], None]] = {}
        self.handling: tuple[UUID, str] | None = None

    def give(self, item: Item, route: Route, *, inbox: Inbox, alone: bool) -> None:
        """Give the event to its handler, or put it on the handler's list.

        alone  now, and with what the commit would find: whatever fails has one event to blame
        """
        delivery = item.delivery(generation=inbox.generation)
        if item.key is not None and self._gatherers.get(item.key, route.handler) != route.handler:
            self.hand_over()  # an earlier event of the key is on another handler's list
        if route.batched and not alone:
            self._gathered.setdefault(route.handler, (route, []))[1].append(delivery)
            if item.key is not None:
                self._gatherers[item.key] = route.handler
            return
        self.handling = item.inbox_id, item.type
        with self._guarded(route, [delivery]) as deliveries:
            if route.batched:  # by itself, so that a failure has one to blame, also of those a gap releases
                route.handler(deliveries)
            else:
                with following(deliveries[0]):
                    route.handler(deliveries[0])
        if alone:
            self._check(inbox)
        self.handling = None

    def hand_over(self) -> None:
        """Call the handlers that take lists with what was gathered for them."""
        gathered, self._gathered = self._gathered, {}
        self._gatherers.clear()
        for route, deliveries in gathered.values():
            with self._guarded(route, deliveries) as traced:
                route.handler(traced)

    def _check(self, inbox: Inbox) -> None:
        """Check now what is deferred to the commit, as Django's foreign keys are, and the transaction itself.

        There nobody would know whose fault it is; an act has to know earlier, and a dry run never commits.
        """
        inbox.check_same_batch()
        with connections[self._consumer.using].cursor() as sql:
            # One statement, which can be prepared.
            sql.execute("DO 'BEGIN SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; END'")

    @contextmanager
    def _guarded(self, route: Route, deliveries: list[Delivery[Any]]) -> Iterator[list[Delivery[Any]]]:
        """A handler's call: within the transaction, within its limit, and traced."""
        with (
            fenced(using=self._consumer.using),
            self._watch(route),
            processing(self._consumer.name, deliveries) as traced,
        ):
            yield traced
