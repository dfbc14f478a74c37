"""The shape and the word for what a consumer made of an event."""

from outbox.models import Outcome
from outbox.registry import get_consumer
from outbox.selectors import PENDING, Reception

_SHOWN = {
    PENDING: ("wait", "pending"),
    Outcome.PROCESSED: ("ok", "processed"),
    Outcome.UNHANDLED: ("none", "not handled"),
    Outcome.PARKED: ("warn", "parked"),
    Outcome.DEAD: ("dead", "dead letter"),
    Outcome.DISCARDED: ("none", "discarded"),
}

_SHORT: dict[str, str] = {Outcome.UNHANDLED: "passed", Outcome.DEAD: "dead"}


def state_of(status: str) -> str:
    """The state that the page's marks are drawn by."""
    return _SHOWN[status][0]


def mark_of(reception: Reception) -> str:
    """The state that a consumer's mark is drawn by: what was processed later than it may be stands out."""
    limit = get_consumer(reception.consumer).sync_delay_limit.total_seconds()
    return "warn" if (reception.delay_seconds or 0.0) > limit else state_of(reception.status)


def word_of(status: str) -> str:
    """The status as a reader knows it."""
    return _SHOWN[status][1]


def short_word_of(status: str) -> str:
    """The status in one short word, for a narrow column."""
    return _SHORT.get(status, word_of(status))
