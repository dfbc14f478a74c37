"""How the system stands, as gauges for Prometheus, read from the database when it is asked for.

Cached for a second, and read by one at a time: however many scrape, the database is asked once. While it is
away, or hangs, `outbox_database_up` is 0, and nothing else is told of it. While it answers, each part is read
by itself: what cannot be read costs its own gauges alone, and `outbox_gauges_unread` says so.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from outbox import clock, state
from outbox.alerts.alarms import Alarm
from outbox.alerts.causes import Cause
from outbox.alerts.checking import unwatched_for
from outbox.consumer_models import ConsumerState
from outbox.lag import Lag, lags
from outbox.models import ParkCause
from outbox.partitions import days_ahead
from outbox.patience import Patient
from outbox.pausing import ITSELF
from outbox.positions import AlarmCause
from outbox.recovery import Family, family_of
from outbox.registry import Consumer, all_consumers, databases

FRESH_SECONDS = 1.0
TIMEOUT_MS = 3_000
# After so long no further part is begun, and a database that hangs is given up: Prometheus waits for ten
# seconds where nothing else is said.
PATIENCE_SECONDS = 5.0
HANGS_SECONDS = 9.0
# Nothing is counted beyond it: a figure that stands there is that or more.
LIMIT = 10_000
BY_ITSELF, BY_OPERATOR = "itself", "operator"

logger = logging.getLogger(__name__)

# What is told, with its labels, in the order of the page.
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "outbox_database_up": ("1 while the database answers.", ()),
    "outbox_gauges_unread": (
        "1 while the gauges of this part could not be read from this database.",
        ("part", "database"),
    ),
    "outbox_backlog_events": (f"Events that no relay has sent yet, counted up to {LIMIT}.", ()),
    "outbox_backlog_oldest_seconds": ("For how long the first of them has waited; 0 without one.", ()),
    "outbox_held_events": (f"Events that relays hold back, see refused, counted up to {LIMIT}.", ()),
    "outbox_relays": ("Relays that hold shards.", ()),
    "outbox_shards": ("Shards of keys.", ()),
    "outbox_shards_leased": ("Shards that a relay holds.", ()),
    "outbox_partitions_ahead_days": ("For how many days the tables have partitions.", ()),
    "outbox_alarms": ("Alarms of this cause that are present, as of the last look.", ("cause",)),
    "outbox_alarms_age_seconds": ("For how long nobody has looked for alarms.", ()),
    "outbox_consumer_lag_events": (
        "Records in Kafka that a consumer has yet to process; no sample while that is not known.",
        ("consumer",),
    ),
    "outbox_consumer_lag_seconds": (
        (
            "The age of the oldest event that it has yet to process, sent to Kafka or not; 0 without one, no"
            " sample while it is not known."
        ),
        ("consumer",),
    ),
    "outbox_consumer_lag_known": (
        "1 while it is known whether it is late; 0 while there may be no sample of its lag.",
        ("consumer",),
    ),
    "outbox_consumer_limit_seconds": ("How late it may be, as declared.", ("consumer",)),
    "outbox_consumer_instances": ("Its instances that are there.", ("consumer",)),
    "outbox_consumer_idle_instances": (
        "Those of them that read no partition and have not gone silent.",
        ("consumer",),
    ),
    "outbox_consumer_paused": ("1 while it is paused, by whom.", ("consumer", "by")),
    "outbox_consumer_alarm": ("1 while this is wrong with it.", ("consumer", "cause")),
    "outbox_consumer_dead_letters": (f"Its open dead letters, counted up to {LIMIT}.", ("consumer",)),
    "outbox_consumer_parked_keys": (
        f"Its parked keys by cause, gaps among them, {LIMIT} in all at most.",
        ("consumer", "cause"),
    ),
    "outbox_consumer_gap_oldest_seconds": (
        "For how long a key has waited for a missing event; 0 without one.",
        ("consumer",),
    ),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A gauge's value for some labels."""

    name: str
    labels: tuple[str, ...]
    value: float


_AWAY = Sample("outbox_database_up", (), 0)
Gauges = Callable[[str], Iterator[Sample]]


class System:
    """The samples of the last second."""

    def __init__(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using
        self._lock = threading.Lock()
        self._read_at = -FRESH_SECONDS
        self._samples: list[Sample] = []
        self._patient = Patient(self._read, seconds=HANGS_SECONDS, name="outbox-gauges")

    def samples(self) -> list[Sample]:
        """Those that are fresh, or else new ones. Never raises the database's errors."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._samples = self._answer()
                self._read_at = time.monotonic()
            return self._samples

    def forget(self) -> None:
        """Read anew when asked next."""
        self._read_at = -FRESH_SECONDS

    def _answer(self) -> list[Sample]:
        try:
            return self._patient.answer()
        except TimeoutError:
            logger.warning("metrics: the database hangs")
            return [_AWAY]

    def _read(self) -> list[Sample]:
        if not _answers(self._using):
            return [_AWAY]
        samples = [Sample("outbox_database_up", (), 1)]
        end = time.monotonic() + PATIENCE_SECONDS
        for using, part, gauges in self._parts():
            found = _read_part(part, gauges, using) if time.monotonic() < end else None
            samples.append(Sample("outbox_gauges_unread", (part, using), found is None))
            samples += found or []
        return samples

    def _parts(self) -> Iterator[tuple[str, str, Gauges]]:
        """The database that is asked, and the part that it is asked for."""
        for part, gauges in OF_OUTBOX.items():
            yield self._using, part, gauges
        for using in databases():
            for part, gauges in OF_CONSUMERS.items():
                yield using, part, gauges


@contextmanager
def _patiently(using: str) -> Iterator[None]:
    """A transaction of its own: what one is denied, a table or its time, is not the next one's doing."""
    with transaction.atomic(using=using):
        with connections[using].cursor() as sql:
            sql.execute("SELECT set_config('statement_timeout', %s, true)", [str(TIMEOUT_MS)])
        yield


def _answers(using: str) -> bool:
    """Whether the database is there. One that refuses a question, or takes too long for it, is."""
    try:
        with _patiently(using):
            return True
    except Error as error:
        logger.warning("metrics: %s", _line(error))
        return family_of(error) is not Family.RECOVERABLE


def _read_part(part: str, gauges: Gauges, using: str) -> list[Sample] | None:
    """All samples of a part; None when the database did not say, or not in time."""
    try:
        with _patiently(using):
            return list(gauges(using))
    except Error as error:
        logger.warning("metrics: %s of %s: %s", part, using, _line(error))
        return None


def _line(error: Error) -> str:
    return str(error).partition("\n")[0]


def _of_backlog(using: str) -> Iterator[Sample]:
    waiting, oldest = state.backlog(now=clock.now(using=using), limit=LIMIT, using=using)
    yield Sample("outbox_backlog_events", (), waiting)
    yield Sample("outbox_backlog_oldest_seconds", (), _seconds(oldest))


def _of_held(using: str) -> Iterator[Sample]:
    yield Sample("outbox_held_events", (), state.refused(limit=LIMIT, using=using))


def _of_relays(using: str) -> Iterator[Sample]:
    relays, leased, shards = state.leases(using=using)
    yield Sample("outbox_relays", (), relays)
    yield Sample("outbox_shards", (), shards)
    yield Sample("outbox_shards_leased", (), leased)


def _of_partitions(using: str) -> Iterator[Sample]:
    yield Sample("outbox_partitions_ahead_days", (), days_ahead(using=using))


def _of_alarms(using: str) -> Iterator[Sample]:
    present = Counter(Alarm.objects.using(using).present().values_list("cause", flat=True))
    for cause in Cause:
        yield Sample("outbox_alarms", (cause.value,), present[cause.value])
    if (age := unwatched_for(at=clock.now(using=using), using=using)) is not None:
        yield Sample("outbox_alarms_age_seconds", (), _seconds(age))


def _of_lags(using: str) -> Iterator[Sample]:
    if consumers := _consumers_of(using):
        for lag in lags(consumers, using=using):
            yield from _of_lag(lag)


def _of_lag(lag: Lag) -> Iterator[Sample]:
    label = (lag.consumer.name,)
    # What is not known has no sample: 0 would say that all is well.
    if lag.events is not None:
        yield Sample("outbox_consumer_lag_events", label, lag.events)
    if lag.seconds is not None:
        yield Sample("outbox_consumer_lag_seconds", label, lag.seconds)
    yield Sample("outbox_consumer_lag_known", label, lag.late is not None)
    yield Sample("outbox_consumer_limit_seconds", label, lag.sync_delay_limit)
    yield Sample("outbox_consumer_instances", label, len(lag.members))
    yield Sample("outbox_consumer_idle_instances", label, sum(member.idle for member in lag.members))
    now = {alarm.cause for alarm in lag.alarms}
    for cause in AlarmCause:
        yield Sample("outbox_consumer_alarm", (*label, cause.value), cause in now)


def _of_pauses(using: str) -> Iterator[Sample]:
    rows = ConsumerState.objects.using(using).exclude(paused_at=None)
    paused = dict(rows.values_list("name", "paused_by"))
    for name in [consumer.name for consumer in _consumers_of(using)]:
        by = paused.get(name)
        yield Sample("outbox_consumer_paused", (name, BY_ITSELF), by == ITSELF)
        yield Sample("outbox_consumer_paused", (name, BY_OPERATOR), by is not None and by != ITSELF)


def _of_set_aside(using: str) -> Iterator[Sample]:
    now = clock.now(using=using)
    for name, aside in state.set_aside(limit=LIMIT, using=using).items():
        yield Sample("outbox_consumer_dead_letters", (name,), aside.dead)
        for cause in ParkCause.values:
            yield Sample("outbox_consumer_parked_keys", (name, cause), aside.parked.get(cause, 0))
        waited = None if aside.oldest_gap is None else now - aside.oldest_gap
        yield Sample("outbox_consumer_gap_oldest_seconds", (name,), _seconds(waited))


# What is read, part by part, of the outbox's database, and of each in which consumers have their inboxes.
OF_OUTBOX: dict[str, Gauges] = {
    "backlog": _of_backlog,
    "held": _of_held,
    "relays": _of_relays,
    "partitions": _of_partitions,
    "alarms": _of_alarms,
}
OF_CONSUMERS: dict[str, Gauges] = {"lag": _of_lags, "pauses": _of_pauses, "set_aside": _of_set_aside}


def _consumers_of(using: str) -> list[Consumer]:
    return [consumer for consumer in all_consumers() if consumer.using == using]


def _seconds(span: timedelta | None) -> float:
    return 0.0 if span is None else max(span.total_seconds(), 0.0)
