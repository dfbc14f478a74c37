"""Which consumers there are and which function handles which event. Filled when handlers.py modules load."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from outbox.delivery import Delivery
from outbox.errors import ConsumerMisdeclared, UnknownConsumer
from outbox.events import Event
from outbox.policies import Policies, check_policies

E = TypeVar("E", bound=Event)
Handler = Callable[[Delivery[E]], None]
BatchHandler = Callable[[list[Delivery[E]]], None]

_consumers: dict[str, "Consumer"] = {}


@dataclass(frozen=True, slots=True)
class Route:
    """One event type of a consumer, its contract and its handler.

    batched  the handler takes a list of deliveries, of this type and of others that it handles
    limit    how long a call may take; None for OUTBOX["HANDLER_LIMIT"]
    """

    event: type[Event]
    handler: Callable[[Any], None]
    batched: bool = False
    limit: timedelta | None = None


class Projection(Protocol):
    """What a consumer declares whose whole effect is rows that can be built again from its events.

    Its handlers keep the rows of `Delivery.generation` apart from those of others, and readers show those of
    the live one (`outbox.generations.live_generation`). They publish nothing.
    """

    def take_over(self, *, old: int, new: int, start: datetime | None, end: datetime) -> None:
        """Give `new` the rows of `old` of [start, end) in the place of its own, in a transaction under way.

        Called where Kafka no longer has the records from which they were made. Both bounds are the beginnings
        of days of UTC; None is the beginning of all. It may be called again for the same time: once for all
        of it ahead of the swap, and in the swap for the days that have changed since.
        """

    def discard(self, *, generation: int, limit: int) -> int:
        """Remove up to `limit` rows of a generation that nobody reads any more; return how many they were."""


@dataclass(eq=False)
class Consumer:
    """A service's reader of events: a Kafka consumer group, an inbox, and handlers by event type.

    name              also the Kafka group; unique in the project
    sync_delay_limit  how late an effect may be, from the event's occurred_at, before it is alarming
    using             the database of its inbox and effects
    projection        how its effect is rebuilt; None for one that cannot be, because it acts
    on_error          what to do about errors whose families' strategies do not fit: see outbox/policies.py
    """

    name: str
    sync_delay_limit: timedelta
    using: str = "default"
    projection: Projection | None = None
    on_error: Policies = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.name in _consumers:
            raise ConsumerMisdeclared(
                f"Two consumers are named {self.name!r}; give one of them another name."
            )
        check_policies(self.name, self.on_error)
        _consumers[self.name] = self

    def add(
        self,
        event: type[Event],
        handler: Callable[[Any], None],
        *,
        batched: bool = False,
        limit: timedelta | None = None,
    ) -> None:
        """Have `handler` called for every event of this type. Raises ConsumerMisdeclared at a second one."""
        if limit is not None and not limit > timedelta(0):
            raise ConsumerMisdeclared(
                f"Consumer {self.name!r}, {event.type}: a limit is longer than nothing."
            )
        if event.type in self.routes:
            raise ConsumerMisdeclared(f"Consumer {self.name!r} handles {event.type} twice; keep one handler.")
        self.routes[event.type] = Route(event, handler, batched, limit)

    @property
    def topics(self) -> list[str]:
        """The topics to read: those of the events it handles."""
        return sorted({route.event.topic.name for route in self.routes.values()})

    @property
    def compacted(self) -> frozenset[str]:
        """Those of its topics that are declared compacted: Kafka may drop all but the last event of a key."""
        topics = (route.event.topic for route in self.routes.values())
        return frozenset(topic.name for topic in topics if topic.cleanup == "compact")

    @property
    def partitions(self) -> int:
        """How many partitions its topics are declared with: more instances than that are idle."""
        topics = {route.event.topic.name: route.event.topic for route in self.routes.values()}
        return sum(topic.partitions for topic in topics.values())


def handles(
    consumer: Consumer, event: type[E], *, limit: timedelta | None = None
) -> Callable[[Handler[E]], Handler[E]]:
    """Register a function for one event type of a consumer.

    The function runs inside the consumer's transaction, once per event, in order per key. What it writes
    to that database and what it publishes is committed with the event's inbox row, or not at all. It may
    be run again when that transaction failed, so it must do nothing else: no e-mail, no call to others.

    limit  how long a call may take before it is interrupted and counts as failed (HandlerTimedOut)
    """

    def register(handler: Handler[E]) -> Handler[E]:
        consumer.add(event, handler, limit=limit)
        return handler

    return register


def handles_batch(
    consumer: Consumer, *events: type[E], limit: timedelta | None = None
) -> Callable[[BatchHandler[E]], BatchHandler[E]]:
    """Register a function that takes a batch's new events of these types as one list.

    For effects that the database does better set-wise. All that `handles` promises holds: the function is
    given each event once, and those of a key in order, and its effects commit with their inbox rows or not
    at all. It is called once per batch; more often where a key's order asks for it, because another function
    of this consumer handles an event in between. After a failure it is given lists of one, so that only the
    guilty event is set aside: its effect must not depend on how events are spread over lists.

    What it publishes follows from no event of its own accord: `with following(delivery)` says from which.
    """

    def register(handler: BatchHandler[E]) -> BatchHandler[E]:
        for event in events:
            consumer.add(event, handler, batched=True, limit=limit)
        return handler

    return register


def get_consumer(name: str) -> Consumer:
    """The consumer of this name. Raises UnknownConsumer, naming those that exist."""
    try:
        return _consumers[name]
    except KeyError:
        known = ", ".join(sorted(_consumers)) or "none"
        raise UnknownConsumer(
            f"No consumer is named {name!r}; declared in handlers.py are: {known}."
        ) from None


def all_consumers() -> list[Consumer]:
    """Every declared consumer, by name."""
    return [_consumers[name] for name in sorted(_consumers)]


def databases() -> list[str]:
    """The aliases of the outbox's own database and of those that consumers keep their inboxes in."""
    return sorted({"default"} | {consumer.using for consumer in _consumers.values()})


def subscribers(topic: str) -> list[Consumer]:
    """The consumers that read this topic, by name."""
    return [consumer for consumer in all_consumers() if topic in consumer.topics]
