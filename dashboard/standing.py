"""How a consumer stands, in one word, and what to do about it: what stands out most comes first."""

from dataclasses import dataclass
from datetime import timedelta

from dashboard import remedies
from dashboard.behind import Behind
from dashboard.formats import Bounded
from dashboard.measure import DatabaseSample
from dashboard.remedies import Remedy
from dashboard.selectors import Processed
from outbox.lateness import Lateness
from outbox.pausing import ITSELF
from outbox.positions import AlarmCause
from outbox.registry import Consumer


@dataclass(frozen=True, slots=True)
class Lane:
    """A consumer at one moment; figures are None while they are not known.

    lag    events that Kafka has and it has yet to process
    delay  how late its effects are: the age of the oldest event that is left, or the usual delay of late;
           None without events as well, which `delay_known` tells apart
    late   whether it is known to be late
    """

    state: str
    word: str
    remedy: Remedy | None = None
    per_second: float | None = None
    lag: int | None = None
    delay: timedelta | None = None
    fresh: int = 0
    delay_known: bool = False
    late: bool = False


def lane_of(consumer: Consumer, sample: DatabaseSample | None, *, kafka_away: bool = False) -> Lane:
    """How this consumer stands by what the tables said, and by whether Kafka answers."""
    if sample is None:
        return Lane("none", "")
    done = (sample.processed or {}).get(consumer.name)
    rate, fresh = (None, 0) if done is None else (done.per_second, done.fresh)
    if sample.behind is None or consumer.name not in sample.behind:
        return Lane("none", "not known", per_second=rate, fresh=fresh)
    behind = sample.behind[consumer.name]
    limit = consumer.sync_delay_limit.total_seconds()
    wait = behind.wait(limit=limit, unsent_known=sample.waiting is not None)
    state, word, remedy = _said(consumer, sample, behind, wait, done, kafka_away=kafka_away)
    if wait.seconds is None or (rate is None and not wait.late):
        return Lane(state, word, remedy, rate, behind.events, fresh=fresh)
    waited, usual = timedelta(seconds=wait.seconds), None if done is None else done.delays.p50
    delay = max([span for span in (waited or None, usual) if span is not None], default=None)
    late = wait.late is True
    return Lane(state, word, remedy, rate, behind.events, delay, fresh, delay_known=True, late=late)


def _said(
    consumer: Consumer,
    sample: DatabaseSample,
    behind: Behind,
    wait: Lateness,
    done: Processed | None,
    *,
    kafka_away: bool,
) -> tuple[str, str, Remedy | None]:
    name, limit = consumer.name, consumer.sync_delay_limit
    paused = "" if behind.pause is None else "paused itself" if behind.pause.by == ITSELF else "paused"
    if not behind.members:
        word = f"{paused}, no instance" if paused else "not running"
        return "bad", word, remedies.start(f"{name}-1", f"manage.py run_consumer {name}")
    if paused:
        return "warn" if paused == "paused" else "bad", paused, remedies.resume(name)
    stuck = wait.late is True and not wait.is_for_relay
    if stuck and not kafka_away and done is not None and done.per_second == 0:
        return "bad", "standing still", remedies.see_why(name)
    parked, dead = (sample.aside or {}).get(name, (Bounded(0), Bounded(0)))
    if dead:
        letters = f"{dead} dead {'letter' if dead.count == 1 else 'letters'}"
        return "dead", f"{letters}, {_keys(parked)}" if parked else letters, remedies.repair(name)
    if parked:
        return "warn", _keys(parked), remedies.let_go_on(name)
    if kafka_away:
        return "warn", "waits for Kafka", None
    # An alarm lasts for a while.
    keeps_up = wait.keeps_up(events=behind.events or 0, out=(done and done.per_second) or 0.0)
    if not keeps_up and AlarmCause.FALLING_BEHIND in behind.alarms:
        return "warn", "falling behind", remedies.see_why(name)
    if stuck:
        return "warn", "late", remedies.see_why(name)
    if wait.is_for_relay:
        return "warn", "waits for the relay", None
    told = (done and done.per_second, behind.events, wait.late, sample.aside)
    if done is None or None in told:
        return "none", "not known", None
    if done.per_second and done.delays.p50 is not None and done.delays.p50 > limit:
        return "ok", "caught up; the last events were late", None
    return "ok", "on time" if done.per_second else "caught up", None


def _keys(parked: Bounded) -> str:
    return f"{parked} {'key' if parked.count == 1 else 'keys'} parked"
