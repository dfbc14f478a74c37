"""What may be asked of the events."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

from outbox.config import config
from outbox.events import Event
from outbox.models import Outcome
from outbox.registry import all_consumers
from outbox.selectors import PENDING

# How an event stands with the relay.
WAITING = "waiting"
REFUSED = "refused"
# At a consumer, and at any of those who read its topic.
AT_A_CONSUMER = (PENDING, *Outcome.values)
AT_ANY_CONSUMER = (PENDING, Outcome.PARKED.value, Outcome.DEAD.value)


@dataclass(frozen=True, slots=True)
class Question:
    """Which events are looked for; what is empty is not asked. Equal questions have one answer for all.

    text      an event's id, its key, or its correlation id
    status    WAITING, REFUSED, or what `consumer` made of it, one of AT_A_CONSUMER
    consumer  a name; empty for any
    owner     as the outbox writes owners
    since     written to the outbox from then on, by its id
    until     and before that
    """

    text: str = ""
    type: str = ""
    topic: str = ""
    status: str = ""
    consumer: str = ""
    owner: str = ""
    since: datetime | None = None
    until: datetime | None = None


def address(question: Question, **place: UUID) -> str:
    """The query of an address that asks it, in UTC, so that it means the same to whoever it is sent to."""
    asked = {
        "q": question.text,
        "type": question.type,
        "topic": question.topic,
        "state": f"{question.consumer}:{question.status}"
        if question.status in AT_A_CONSUMER
        else question.status,
        "merchant": question.owner,
        "from": _time_text(question.since),
        "to": _time_text(question.until),
    }
    return f"?{urlencode({name: value for name, value in asked.items() if value} | place)}"


def _time_text(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def declared_topics() -> list[str]:
    """Those that the project declares, by name."""
    return sorted(topic.name for topic in config().declared_topics())


def declared_types() -> list[str]:
    """The types of all contracts on declared topics, by name."""
    topics = set(declared_topics())
    return sorted({one.type for one in _below(Event) if hasattr(one, "type") and one.topic.name in topics})


def _below(contract: type[Event]) -> list[type[Event]]:
    found = contract.__subclasses__()
    return [*found, *(one for sub in found for one in _below(sub))]


def asked_consumers(question: Question) -> list[str]:
    """The consumers whose making of an event is asked for."""
    return [question.consumer] if question.consumer else [consumer.name for consumer in all_consumers()]
