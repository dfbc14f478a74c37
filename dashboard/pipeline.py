"""A Flow in words: each stage's state, figures and what to say when a part is away.

Merchants see how the system is and how late, but no figure that counts other merchants' events.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from dashboard import formats
from dashboard.formats import Bounded, Text
from dashboard.measure import DatabaseSample, KafkaSample
from dashboard.sampler import Flow, Reading
from dashboard.selectors import Delays, Processed
from outbox.registry import Consumer, all_consumers

T = TypeVar("T")

# An event that waits longer than this for a relay is not on its way, it is stuck.
RELAY_LIMIT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Figure:
    """One labelled figure of a stage; `private` ones are for staff."""

    key: str
    label: str
    text: Text
    private: bool = True


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the pipeline.

    moved  events it has passed on since the last flow
    delay  a consumer's sync delay now, for its curve
    """

    name: str
    title: str
    state: str
    word: str
    figures: tuple[Figure, ...]
    moved: int = 0
    consumer: Consumer | None = None
    delay: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a reader must know to read the figures right."""

    state: str
    text: str
    since: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The whole picture, left to right."""

    stages: tuple[Stage, ...]
    lanes: tuple[Stage, ...]
    notices: tuple[Notice, ...] = field(default=())


def pipeline(flow: Flow | None, *, staff: bool) -> Pipeline:
    """What to draw; before the first flow every figure is unknown."""
    database: Reading[DatabaseSample] = flow.database if flow else Reading()
    kafka: Reading[KafkaSample] = flow.kafka if flow else Reading()
    lanes = tuple(_lane(consumer, database, kafka, flow) for consumer in all_consumers())
    stages: tuple[Stage, ...] = (
        _payments(database),
        _outbox(database, kafka),
        _relay(database, kafka),
        _kafka(kafka, read=max((lane.moved for lane in lanes), default=0)),
    )
    if not staff:
        stages, lanes = tuple(map(_for_merchants, stages)), tuple(map(_for_merchants, lanes))
    return Pipeline(stages, lanes, tuple(_notices(database, kafka, staff=staff)))


def _for_merchants(stage: Stage) -> Stage:
    figures = tuple(figure for figure in stage.figures if not figure.private)
    word = (
        stage.word if stage.state in {"ok", "none", "bad"} else "late" if stage.state == "warn" else "at work"
    )
    return replace(stage, word=word, figures=figures, moved=0)


def _payments(database: Reading[DatabaseSample]) -> Stage:
    sample = database.value
    per_second = sample.written.per_second.get("payments", 0.0) if sample else None
    state, word = _standing(database, "ok", "taking payments")
    fresh = sample.written.fresh.get("payments", 0) if sample else 0
    return Stage(
        "payments", "Payments", state, word, (Figure("rate", "rate", formats.rate(per_second)),), fresh
    )


def _outbox(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> Stage:
    sample = database.value
    if sample is None:
        return Stage("outbox", "Outbox", *_standing(database, "none", ""), _outbox_figures(None))
    state, word = "ok", "all sent on" if not sample.waiting else "sending"
    if sample.oldest_waiting is not None and sample.oldest_waiting > RELAY_LIMIT:
        state, word = "warn", "filling up"
    if sample.refused:
        state, word = "warn", f"{sample.refused} held back"
    state, word = _standing(database, state, word)
    return Stage("outbox", "Outbox", state, word, _outbox_figures(sample), _sent(kafka))


def _outbox_figures(sample: DatabaseSample | None) -> tuple[Figure, ...]:
    total = sum(sample.written.per_second.values()) if sample else None
    oldest = (sample.oldest_waiting or timedelta(0)) if sample else None
    return (
        Figure("rate", "rate", formats.rate(total)),
        Figure("waiting", "waiting", formats.count(sample.waiting if sample else None)),
        Figure("oldest", "oldest", Text("none") if sample and not sample.waiting else formats.delay(oldest)),
    )


def _relay(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> Stage:
    sample = database.value
    state, word = "none", ""
    if sample is not None:
        stuck = sample.oldest_waiting is not None and sample.oldest_waiting > RELAY_LIMIT
        if not sample.relay.leased:
            state, word = "bad", "not running"
        elif stuck:
            state, word = "warn", "behind"
        else:
            state, word = "ok", "running"
    state, word = _standing(database, state, word)
    delays = sample.relay.delays if sample else Delays()
    figures = (
        Figure("rate", "rate", formats.rate(_relayed(database, kafka))),
        Figure("delay", "delay", _quiet(sample, delays.p50), private=False),
        Figure("p95", "p95", _quiet(sample, delays.p95), private=False),
    )
    return Stage("relay", "Relay", state, word, figures, _sent(kafka))


def _relayed(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> float | None:
    """Records sent per second: by their traces, or by how the topics grow while a backlog is caught up on."""
    traced = database.value.relay.per_second if database.value else None
    grown = kafka.value.per_second if kafka.value and not kafka.away_since else None
    return max((rate for rate in (traced, grown) if rate is not None), default=None)


def _sent(kafka: Reading[KafkaSample]) -> int:
    """Records that have reached Kafka since the last flow."""
    return kafka.value.fresh if kafka.value and not kafka.away_since else 0


def _kafka(kafka: Reading[KafkaSample], *, read: int) -> Stage:
    sample = kafka.value
    state, word = _standing(kafka, "ok", "answering")
    figures = (
        Figure("topics", "topics", formats.count(sample.topics if sample else None)),
        Figure("partitions", "partitions", formats.count(sample.partitions if sample else None)),
        Figure("records", "records", formats.count(sample.records if sample else None)),
    )
    return Stage("kafka", "Kafka", state, word, figures, read)


def _lane(
    consumer: Consumer, database: Reading[DatabaseSample], kafka: Reading[KafkaSample], flow: Flow | None
) -> Stage:
    sample, lag = database.value, (kafka.value.lag.get(consumer.name, 0) if kafka.value else None)
    done = sample.processed.get(consumer.name, Processed()) if sample else None
    oldest = sample.oldest.get(consumer.name) if sample else None
    waited = flow.at - oldest if flow and oldest and lag else None
    known = [span for span in (waited, done.delays.p50 if done else None) if span is not None]
    late_by = max(known, default=None)
    state, word = _lane_state(consumer, sample, done, lag, waited)
    state, word = _standing(database, state, word)
    figures = (
        Figure("rate", "rate", formats.rate(done.per_second if done else None)),
        Figure("lag", "lag", formats.count(lag)),
        Figure("delay", "sync delay", _quiet(sample, late_by), private=False),
    )
    fresh = done.fresh if done else 0
    now = None if database.away_since else late_by
    return Stage(consumer.name, consumer.name, state, word, figures, fresh, consumer, now)


def _lane_state(
    consumer: Consumer,
    sample: DatabaseSample | None,
    done: Processed | None,
    lag: int | None,
    waited: timedelta | None,
) -> tuple[str, str]:
    """What stands out most: standing still, then dead letters, then being late."""
    if sample is None or done is None:
        return "none", ""
    limit = consumer.sync_delay_limit
    # What was late a while ago is late no more, once there is nothing left and nothing comes.
    slow = done.per_second > 0 and done.delays.p50 is not None and done.delays.p50 > limit
    stuck = waited is not None and waited > limit
    parked, dead = sample.aside.get(consumer.name, (Bounded(0), Bounded(0)))
    if stuck and lag and not done.per_second:
        return "bad", "standing still"
    if dead:
        keys = f", {parked} {'key' if parked.count == 1 else 'keys'} parked" if parked else ""
        return "dead", f"{dead} dead {'letter' if dead.count == 1 else 'letters'}{keys}"
    if parked:
        return "warn", f"{parked} {'key' if parked.count == 1 else 'keys'} parked"
    if slow or stuck:
        return "warn", "late"
    return "ok", "on time" if done.per_second else "caught up"


def _quiet(sample: DatabaseSample | None, span: timedelta | None) -> Text:
    """A delay; when nothing has passed lately there is none to show, which is not the same as not knowing."""
    return Text("none") if sample is not None and span is None else formats.delay(span)


def _standing(reading: Reading[T], state: str, word: str) -> tuple[str, str]:
    """The stage's own state, unless the part its figures come from is away or has yet to be asked."""
    if reading.away_since is not None:
        return "bad", "no answer"
    return (state, word) if reading.value is not None else ("none", "asking")


def _notices(
    database: Reading[DatabaseSample], kafka: Reading[KafkaSample], *, staff: bool
) -> Iterator[Notice]:
    if database.away_since:
        yield Notice(
            "bad",
            "The database does not answer. Nothing can be written or processed until it does, and nothing is "
            "lost. The figures are the last it gave. Away since",
            database.away_since,
            database.reason if staff else "",
        )
    if kafka.away_since:
        yield Notice(
            "bad",
            "Kafka does not answer. Payments go on: their events wait in the outbox and are sent when it is "
            "back. Lag and rates beyond the outbox are the last it gave. Away since",
            kafka.away_since,
            kafka.reason if staff else "",
        )
    if not database.away_since and database.value and not database.value.relay.leased:
        yield Notice(
            "bad",
            "No relay is running, so nothing leaves the outbox. Start one: manage.py run_relay"
            if staff
            else "Events are not being sent on at the moment; they wait in the outbox.",
        )
