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
    delay  how late its effects are: the age of the oldest event that is left, or the usual delay of late;
           None without events as well, which `delay_known` tells apart
    """

    state: str
    word: str
    remedy: Remedy | None = None
    per_second: float | None = None
    lag: int | None = None
    delay: timedelta | None = None
    fresh: int = 0
    delay_known: bool = False


def lane_of(consumer: Consumer, sample: DatabaseSample | None) -> Lane:
    """How this consumer stands by what the tables said."""
    if sample is None:
        return Lane("none", "")
    done = (sample.processed or {}).get(consumer.name)
    rate, fresh = (None, 0) if done is None else (done.per_second, done.fresh)
    if sample.behind is None or consumer.name not in sample.behind:
        return Lane("none", "not known", per_second=rate, fresh=fresh)
    behind = sample.behind[consumer.name]
    state, word, remedy = _said(consumer, sample, behind, done)
    late_by = behind.late_by(limit=consumer.sync_delay_limit.total_seconds())
    if done is None or done.per_second is None or sample.waiting is None or late_by is None:
        return Lane(state, word, remedy, rate, behind.events, fresh=fresh)
    waited = timedelta(seconds=late_by)
    delays = [span for span in (waited or None, done.delays.p50) if span is not None]
    return Lane(state, word, remedy, rate, behind.events, max(delays, default=None), fresh, delay_known=True)


def _said(
    consumer: Consumer, sample: DatabaseSample, behind: Behind, done: Processed | None
) -> tuple[str, str, Remedy | None]:
    name, limit = consumer.name, consumer.sync_delay_limit
    if pause := behind.pause:
        itself = pause.by == ITSELF
        return "bad" if itself else "warn", "paused itself" if itself else "paused", remedies.resume(name)
    if not behind.members:
        command = f"manage.py run_consumer {name}"
        return "bad", "not running", remedies.start(f"{name}-1", command)
    stuck = behind.seconds is not None and timedelta(seconds=behind.seconds) > limit
    if stuck and done is not None and done.per_second == 0:
        return "bad", "standing still", remedies.see_why(name)
    parked, dead = (sample.aside or {}).get(name, (Bounded(0), Bounded(0)))
    if dead:
        letters = f"{dead} dead {'letter' if dead.count == 1 else 'letters'}"
        return "dead", f"{letters}, {_keys(parked)}" if parked else letters, remedies.repair(name)
    if parked:
        return "warn", _keys(parked), remedies.let_go_on(name)
    if behind.events and AlarmCause.FALLING_BEHIND in behind.alarms:
        return "warn", "falling behind", remedies.see_why(name)
    # What was late a while ago is late no more, once there is nothing left and nothing comes.
    p50 = None if done is None or not done.per_second else done.delays.p50
    if stuck or (p50 is not None and p50 > limit):
        return "warn", "late", remedies.see_why(name)
    if timedelta(seconds=behind.unsent) > limit:
        return "warn", "waits for the relay", None
    told = (done and done.per_second, behind.events, behind.seconds, sample.aside, sample.waiting)
    if done is None or None in told:
        return "none", "not known", None
    return "ok", "on time" if done.per_second else "caught up", None


def _keys(parked: Bounded) -> str:
    return f"{parked} {'key' if parked.count == 1 else 'keys'} parked"
