"""How a consumer stands, in one word, and what to do about it: what stands out most comes first."""

from dataclasses import dataclass
from datetime import timedelta

from dashboard import remedies
from dashboard.behind import Behind
from dashboard.formats import Bounded
from dashboard.measure import DatabaseSample
from dashboard.remedies import Remedy
from dashboard.selectors import Processed
from outbox.pausing import ITSELF
from outbox.positions import AlarmCause
from outbox.registry import Consumer


@dataclass(frozen=True, slots=True)
class Lane:
    """A consumer at one moment; figures are None while they are not known.

    lag    events that Kafka has and it has yet to process
    delay  how late its effects are: the age of the oldest event that is left, or the usual delay of late
    """

    state: str
    word: str
    remedy: Remedy | None = None
    per_second: float | None = None
    lag: int | None = None
    delay: timedelta | None = None
    fresh: int = 0


def lane_of(consumer: Consumer, sample: DatabaseSample | None) -> Lane:
    """How this consumer stands by what the tables said."""
    if sample is None or consumer.name not in sample.behind:
        return Lane("none", "")
    behind = sample.behind[consumer.name]
    done = sample.processed.get(consumer.name, Processed())
    waited = timedelta(seconds=behind.late_by)
    known = [span for span in (waited or None, done.delays.p50) if span is not None]
    state, word, remedy = _said(consumer, sample, behind, done)
    return Lane(state, word, remedy, done.per_second, behind.events, max(known, default=None), done.fresh)


def _said(
    consumer: Consumer, sample: DatabaseSample, behind: Behind, done: Processed
) -> tuple[str, str, Remedy | None]:
    name, limit = consumer.name, consumer.sync_delay_limit
    if pause := behind.pause:
        itself = pause.by == ITSELF
        return "bad" if itself else "warn", "paused itself" if itself else "paused", remedies.resume(name)
    if not behind.members:
        command = f"manage.py run_consumer {name}"
        return "bad", "not running", remedies.start(f"{name}-1", command)
    stuck = bool(behind.events) and timedelta(seconds=behind.seconds) > limit
    if stuck and not done.per_second:
        return "bad", "standing still", remedies.see_why(name)
    parked, dead = sample.aside.get(name, (Bounded(0), Bounded(0)))
    if dead:
        letters = f"{dead} dead {'letter' if dead.count == 1 else 'letters'}"
        return "dead", f"{letters}, {_keys(parked)}" if parked else letters, remedies.repair(name)
    if parked:
        return "warn", _keys(parked), remedies.repair(name)
    if behind.events and AlarmCause.FALLING_BEHIND in behind.alarms:
        return "warn", "falling behind", remedies.see_why(name)
    # What was late a while ago is late no more, once there is nothing left and nothing comes.
    slow = done.per_second > 0 and done.delays.p50 is not None and done.delays.p50 > limit
    if slow or stuck:
        return "warn", "late", remedies.see_why(name)
    if timedelta(seconds=behind.unsent) > limit:
        return "warn", "waits for the relay", None
    return "ok", "on time" if done.per_second else "caught up", None


def _keys(parked: Bounded) -> str:
    return f"{parked} {'key' if parked.count == 1 else 'keys'} parked"
