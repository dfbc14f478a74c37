"""A transactional outbox for Django, PostgreSQL and Kafka.

    from outbox import Consumer, Delivery, Event, Topic, handles, publish

Contracts need no Django: `publish` and `atomic` are loaded when first used.
"""

from typing import TYPE_CHECKING, Any

from outbox.context import following
from outbox.delivery import Delivery
from outbox.errors import NonRecoverable, OutboxError, Recoverable
from outbox.events import Event
from outbox.policies import Discard, Park, Retry, Wait
from outbox.registry import Consumer, handles, handles_batch
from outbox.topics import Topic

if TYPE_CHECKING:
    from outbox.buffer import atomic
    from outbox.publishing import publish

__all__ = [
    "Consumer",
    "Delivery",
    "Discard",
    "Event",
    "NonRecoverable",
    "OutboxError",
    "Park",
    "Recoverable",
    "Retry",
    "Topic",
    "Wait",
    "atomic",
    "following",
    "handles",
    "handles_batch",
    "publish",
]


def __getattr__(name: str) -> Any:
    # These two need Django's settings, which a contract's reader may not have.
    if name == "publish":
        from outbox.publishing import publish

        return publish
    if name == "atomic":
        from outbox.buffer import atomic

        return atomic
    raise AttributeError(f"module 'outbox' has no attribute {name!r}")
