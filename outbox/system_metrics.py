"""How the system stands, as gauges for Prometheus, read from the database when it is asked for.

Cached for a second, and read by one at a time: however many scrape, the database is asked once. While it is
away `outbox_database_up` is 0, and nothing else is told of it.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction

from outbox import clock, state
from outbox.alerts.alarms import Alarm
from outbox.alerts.causes import Cause
from outbox.consumer_models import ConsumerState
from outbox.lag import Lag, all_lags
from outbox.models import ParkCause
from outbox.partitions import days_ahead
from outbox.pausing import ITSELF
from outbox.positions import AlarmCause
from outbox.recovery import Family, family_of

FRESH_SECONDS = 1.0
TIMEOUT_MS = 3_000
# Nothing is counted beyond it: a figure that stands there is that or more.
LIMIT = 10_000

logger = logging.getLogger(__name__)

# What is told, with its labels, in the order of the page.
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "outbox_database_up": ("1 while the database answers.", ()),
    "outbox_backlog_events": (f"Events that no relay has sent yet, counted up to {LIMIT}.", ()),
    "outbox_backlog_oldest_seconds": ("For how long the first of them has waited; 0 without one.", ()),
    "outbox_held_events": (f"Events that relays hold back, see refused, counted up to {LIMIT}.", ()),
    "outbox_relays": ("Relays that hold shards.", ()),
    "outbox_shards": ("Shards of keys.", ()),
    "outbox_shards_leased": ("Shards that a relay holds.", ()),
    "outbox_partitions_ahead_days": ("For how many days the tables have partitions.", ()),
    "outbox_alarms": ("Alarms of this cause that are present, as of the last look.", ("cause",)),
    "outbox_consumer_lag_events": ("Records in Kafka that a consumer has yet to process.", ("consumer",)),
    "outbox_consumer_lag_seconds": (
        "The age of the oldest event that it has yet to process, sent to Kafka or not; 0 without one.",
        ("consumer",),
    ),
    "outbox_consumer_limit_seconds": ("How late it may be, as declared.", ("consumer",)),
    "outbox_consumer_instances": ("Its instances that are there.", ("consumer",)),
    "outbox_consumer_idle_instances": ("Those of them that read no partition.", ("consumer",)),
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


class System:
    """The samples of the last second."""

    def __init__(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using
        self._lock = threading.Lock()
        self._read_at = -FRESH_SECONDS
        self._samples: list[Sample] = []

    def samples(self) -> list[Sample]:
        """Those that are fresh, or else new ones. Never raises the database's errors."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH_SECONDS:
                self._samples = self._read()
                self._read_at = time.monotonic()
            return self._samples

    def forget(self) -> None:
        """Read anew when asked next."""
        self._read_at = -FRESH_SECONDS

    def _read(self) -> list[Sample]:
        try:
            # What one of these transactions is denied, a table or its time, is not the scraper's doing.
            with transaction.atomic(using=self._using):
                with connections[self._using].cursor() as sql:
                    sql.execute("SELECT set_config('statement_timeout', %s, true)", [str(TIMEOUT_MS)])
                return [
                    Sample("outbox_database_up", (), 1),
                    *self._of_relays(),
                    *self._of_alarms(),
                    *self._of_consumers(),
                ]
        except Error as error:
            logger.warning("metrics: %s", str(error).partition("\n")[0])
            # One that refuses a question, or takes too long for it, is there.
            return [Sample("outbox_database_up", (), family_of(error) is not Family.RECOVERABLE)]

    def _of_relays(self) -> Iterator[Sample]:
        using = self._using
        waiting, oldest = state.backlog(now=clock.now(using=using), limit=LIMIT, using=using)
        relays, leased, shards = state.leases(using=using)
        yield Sample("outbox_backlog_events", (), waiting)
        yield Sample("outbox_backlog_oldest_seconds", (), _seconds(oldest))
        yield Sample("outbox_held_events", (), state.refused(limit=LIMIT, using=using))
        yield Sample("outbox_relays", (), relays)
        yield Sample("outbox_shards", (), shards)
        yield Sample("outbox_shards_leased", (), leased)
        yield Sample("outbox_partitions_ahead_days", (), days_ahead(using=using))

    def _of_alarms(self) -> Iterator[Sample]:
        present = Counter(Alarm.objects.using(self._using).present().values_list("cause", flat=True))
        for cause in Cause:
            yield Sample("outbox_alarms", (cause.value,), present[cause.value])

    def _of_consumers(self) -> Iterator[Sample]:
        found = all_lags()
        databases = {lag.consumer.using for lag in found}
        aside = {
            name: one
            for using in databases
            for name, one in state.set_aside(limit=LIMIT, using=using).items()
        }
        paused = {
            row.name: row.paused_by
            for using in databases
            for row in ConsumerState.objects.using(using).exclude(paused_at=None)
        }
        for lag in found:
            name = lag.consumer.name
            yield from _of_lag(lag)
            by = paused.get(name)
            yield Sample("outbox_consumer_paused", (name, "itself"), by == ITSELF)
            yield Sample("outbox_consumer_paused", (name, "operator"), by is not None and by != ITSELF)
            one = aside[name]
            yield Sample("outbox_consumer_dead_letters", (name,), one.dead)
            for cause in ParkCause.values:
                yield Sample("outbox_consumer_parked_keys", (name, cause), one.parked.get(cause, 0))
            waited = None if one.oldest_gap is None else lag.at - one.oldest_gap
            yield Sample("outbox_consumer_gap_oldest_seconds", (name,), _seconds(waited))


def _of_lag(lag: Lag) -> Iterator[Sample]:
    label = (lag.consumer.name,)
    yield Sample("outbox_consumer_lag_events", label, lag.events)
    yield Sample("outbox_consumer_lag_seconds", label, lag.seconds)
    yield Sample("outbox_consumer_limit_seconds", label, lag.sync_delay_limit)
    yield Sample("outbox_consumer_instances", label, len(lag.members))
    yield Sample("outbox_consumer_idle_instances", label, sum(member.idle for member in lag.members))
    now = {cause for cause, _ in lag.alarms}
    for cause in AlarmCause:
        yield Sample("outbox_consumer_alarm", (*label, cause.value), cause in now)


def _seconds(span: timedelta | None) -> float:
    return 0.0 if span is None else max(span.total_seconds(), 0.0)
