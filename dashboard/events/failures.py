"""Where consumers could not process an event, or passed it over, and what was done about it."""

from dataclasses import dataclass
from uuid import UUID

from outbox.consumer_models import DiscardedEvent
from outbox.models import DeadLetter, Outcome
from outbox.repair.acts import Act, Result
from outbox.selectors import Trace

_SETTLED = (Result.REPLAYED, Result.DISCARDED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A dead letter of the event, and the act that settled it; None while it is open."""

    letter: DeadLetter
    act: Act | None


def failures_of(event_id: UUID) -> list[Failure]:
    """The event's dead letters, settled ones too, from the first on."""
    letters = list(DeadLetter.objects.filter(event_id=event_id).order_by("died_at", "id"))
    acts = Act.objects.filter(letter_id__in=[letter.id for letter in letters], result__in=_SETTLED)
    settled = {act.letter_id: act for act in acts.order_by("id")}
    return [Failure(letter, settled.get(letter.id)) for letter in letters]


def passed_over(trace: Trace) -> list[DiscardedEvent]:
    """What consumers discarded by the policy that they declare, each as it last did."""
    names = [one.consumer for one in trace.consumers if one.status == Outcome.DISCARDED]
    if not names:
        return []
    found = DiscardedEvent.objects.filter(event_id=trace.event.id, consumer__in=names).order_by("id")
    return list({one.consumer: one for one in found}.values())
