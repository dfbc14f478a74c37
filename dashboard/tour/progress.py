"""How far the system has come since a step began: told by its own tables, whoever did what and how."""

from dataclasses import dataclass
from datetime import timedelta

from contracts.payments import PaymentValidated
from dashboard import formats
from dashboard.asking import Shared
from dashboard.chaos.poison import CONSUMER as POISONED
from dashboard.chaos.poison import was_poisoned, what_is_corrected
from dashboard.tour.place import Place
from outbox.lag import Lag, lags
from outbox.models import DeadLetter, LetterState, OutboxEvent
from outbox.registry import get_consumer
from outbox.repair.letters import waiting_behind
from outbox.selectors import PENDING, Reception, Trace, traces

# The service that the tour stops.
STOPPED = "loyalty"
# How many dead letters are looked at for the poisoned one.
LOOKED_AT = 50
# Those that it does not keep from being on time.
OTHERS = ("orders", "analytics")


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that is to be seen in a step, and whether it has been."""

    text: str
    done: bool
    detail: str = ""


def goals_of(place: Place) -> list[Goal]:
    """The goals of a step as they are now."""
    return {1: _paid, 2: _stopped, 3: _late, 4: _caught_up, 5: _repaired}[place.number](place)


def letter_of(place: Place) -> DeadLetter | None:
    """The latest event that was poisoned since the step began, among the latest dead letters."""
    letters = DeadLetter.objects.filter(
        consumer=POISONED, type=PaymentValidated.type, died_at__gte=place.since
    )
    return next(filter(was_poisoned, letters.order_by("-died_at")[:LOOKED_AT]), None)


def _paid(place: Place) -> list[Goal]:
    trace = _payment(place)
    received = _received(trace)
    done = [one for one in received if one.status != PENDING]
    return [
        Goal("A payment is made and validated", trace is not None),
        Goal("Its event is in Kafka", bool(trace and trace.publications)),
        Goal(
            f"{_listed([one.consumer for one in received])} have processed it"
            if received
            else "Every service has processed it",
            bool(received) and len(done) == len(received),
            f"{len(done)} of {len(received)}" if received else "",
        ),
    ]


def _stopped(place: Place) -> list[Goal]:
    lag, trace = _lag(), _payment(place)
    statuses = {one.consumer: one.status for one in _received(trace)}
    waits = statuses.get(STOPPED) == PENDING
    return [
        Goal(f"{STOPPED} is stopped", not lag.members),
        Goal("Another payment is made", trace is not None),
        Goal("Its order is there", statuses.get("orders", PENDING) != PENDING),
        Goal(
            f"{STOPPED} has its event waiting",
            waits and not lag.members,
            _left(lag) if waits else "",
        ),
    ]


def _late(place: Place) -> list[Goal]:
    lag, *others_lags = shared_lags.answer()
    seconds = formats.delay(None if lag.seconds is None else timedelta(seconds=lag.seconds))
    told = f"{seconds}, limit {formats.limit(lag.consumer.sync_delay_limit)}"
    others = [other.consumer.name for other in others_lags if other.late is False]
    return [
        Goal(
            f"{STOPPED} is later than its limit",
            lag.late is True,
            told,
        ),
        Goal("The others are on time", len(others) == len(OTHERS), _listed(others)),
    ]


def _caught_up(place: Place) -> list[Goal]:
    lag = _lag()
    running = bool(lag.members)
    return [
        Goal(f"{STOPPED} runs", running),
        Goal("All that waited has been processed", running and lag.events == 0, _left(lag)),
    ]


def _repaired(place: Place) -> list[Goal]:
    letter = letter_of(place)
    waiting = waiting_behind(letter) if letter else 0
    is_open = letter is not None and letter.state == LetterState.OPEN
    settled = letter is not None and not is_open and not waiting
    return [
        Goal(
            f"{POISONED} has set the poisoned event aside",
            letter is not None,
            f"{waiting} behind it" if is_open else "",
        ),
        Goal(
            f"It is replayed with {what_is_corrected()}, and what waited has run",
            settled,
        ),
    ]


def _payment(place: Place) -> Trace | None:
    """The payment that was made in the step, once it is validated."""
    if place.payment is None:
        return None
    topic, key = PaymentValidated.topic.name, str(place.payment)
    events = OutboxEvent.objects.filter(topic=topic, key=key, type=PaymentValidated.type)
    found = traces(events.defer("payload")[:1])
    return found[0] if found else None


def _received(trace: Trace | None) -> list[Reception]:
    """By those consumers that act on a validated payment."""
    every = trace.consumers if trace else []
    return [one for one in every if PaymentValidated.type in get_consumer(one.consumer).routes]


def _lag() -> Lag:
    return shared_lags.answer()[0]


def _lags() -> list[Lag]:
    """That of the service which is stopped first, and those of the others."""
    consumers = [get_consumer(name) for name in (STOPPED, *OTHERS)]
    return lags(consumers, using=consumers[0].using)


# Every tour asks every other second.
shared_lags = Shared(_lags)


def _left(lag: Lag) -> str:
    return f"{formats.count(lag.events)} left"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
