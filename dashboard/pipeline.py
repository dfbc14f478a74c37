"""A Flow in words: each stage's state, figures and what to say when a part is away."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

from django.urls import reverse

from dashboard import formats, remedies
from dashboard.formats import Text
from dashboard.measure import DatabaseSample, KafkaSample
from dashboard.notices import Notice, notices_of
from dashboard.remedies import Remedy
from dashboard.sampler import Flow, Reading
from dashboard.selectors import Delays
from dashboard.standing import lane_of
from outbox.registry import Consumer, all_consumers

T = TypeVar("T")

# An event that waits longer than this for a relay is not on its way, it is stuck.
RELAY_LIMIT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Figure:
    """One labelled figure of a stage. `limit` is what it should stay below."""

    key: str
    label: str
    text: Text
    limit: timedelta | None = None
    beyond: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the pipeline.

    address  the page of this part
    panel    where it is broken on purpose, in a demo
    remedy   what to do about it; None when it is well
    moved    events it has passed on since the last flow
    delay    a consumer's sync delay now, for its curve
    """

    name: str
    title: str
    state: str
    word: str
    figures: tuple[Figure, ...]
    address: str = ""
    panel: str = ""
    remedy: Remedy | None = None
    moved: int = 0
    consumer: Consumer | None = None
    delay: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The whole picture, left to right."""

    stages: tuple[Stage, ...]
    lanes: tuple[Stage, ...]
    notices: tuple[Notice, ...] = field(default=())


def pipeline(flow: Flow | None, *, acts: bool) -> Pipeline:
    """What to draw, for those who may act or only look; before the first flow every figure is unknown."""
    database: Reading[DatabaseSample] = flow.database if flow else Reading()
    kafka: Reading[KafkaSample] = flow.kafka if flow else Reading()
    lanes = tuple(_lane(consumer, database, kafka) for consumer in all_consumers())
    stages: tuple[Stage, ...] = (
        _payments(database),
        _outbox(database, kafka),
        _relay(database, kafka),
        _kafka(kafka, read=max((lane.moved for lane in lanes), default=0)),
    )
    if not acts:
        stages, lanes = tuple(map(_for_those_who_look, stages)), tuple(map(_for_those_who_look, lanes))
    return Pipeline(stages, lanes, tuple(notices_of(database, kafka)))


def _for_those_who_look(stage: Stage) -> Stage:
    """Without what operators alone can do: they are shown where to look."""
    remedy = stage.remedy
    if remedy is not None and remedy != remedies.see_alerts():
        remedy = Remedy("See why", stage.address)
    return replace(stage, panel="", remedy=remedy)


def _payments(database: Reading[DatabaseSample]) -> Stage:
    sample = database.value
    written = sample.written if sample else None
    per_second = written.rate_of("payments") if written else None
    state, word = _standing(database, "ok", "taking payments")
    return Stage(
        "payments",
        "Payments",
        state,
        word,
        (Figure("rate", "rate", formats.rate(per_second)),),
        address=reverse("payments"),
        panel=remedies.breaking("web"),
        remedy=_for_trouble(state),
        moved=written.fresh.get("payments", 0) if written else 0,
    )


def _outbox(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> Stage:
    sample = database.value
    state, word, remedy = "none", "", None
    if sample is not None:
        state, word = "ok", "sending" if sample.waiting else "all sent on"
        if sample.waiting is None:
            state, word = "none", "not known"
        if _beyond(sample.oldest_waiting):
            state, word = "warn", "filling up"
        if sample.refused:
            state, word = "warn", f"{sample.refused} held back"
            remedy = remedies.see_refused()
    state, word = _standing(database, state, word)
    return Stage(
        "outbox",
        "Outbox",
        state,
        word,
        _outbox_figures(sample),
        address=reverse("events"),
        panel=remedies.breaking("postgres"),
        remedy=remedy or _for_trouble(state),
        moved=_sent(kafka),
    )


def _outbox_figures(sample: DatabaseSample | None) -> tuple[Figure, ...]:
    written, waiting = (sample.written, sample.waiting) if sample else (None, None)
    none = waiting is not None and not waiting
    waits = sample.oldest_waiting if sample else None
    oldest = Text("none") if none else formats.delay(waits)
    return (
        Figure("rate", "rate", formats.rate(sum(written.per_second.values()) if written else None)),
        Figure("waiting", "waiting", formats.count(waiting)),
        Figure("oldest", "oldest", oldest, beyond=_beyond(waits)),
    )


def _beyond(waited: timedelta | None) -> bool:
    return waited is not None and waited > RELAY_LIMIT


def _relay(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> Stage:
    sample = database.value
    relay = sample.relay if sample else None
    state, word, remedy = "none", "not known" if sample else "", None
    if sample is not None and relay is not None:
        stuck = _beyond(sample.oldest_waiting)
        if not relay.leased:
            state, word = "bad", "not running"
            remedy = remedies.start("relay-1", "manage.py run_relay")
        elif relay.leased < relay.shards:
            state, word = "warn", f"{relay.shards - relay.leased} of {relay.shards} shards wait"
        elif stuck:
            state, word = "warn", "behind"
        else:
            state, word = "ok", "running"
    state, word = _standing(database, state, word)
    delays = relay.delays if relay else Delays()
    usual = _quiet(delays.p50, known=relay is not None)
    figures = (
        Figure("rate", "rate", formats.rate(_relayed(database, kafka))),
        Figure("delay", "delay", usual, beyond=_beyond(delays.p50)),
        Figure("p95", "p95", _quiet(delays.p95, known=relay is not None)),
    )
    return Stage(
        "relay",
        "Relay",
        state,
        word,
        figures,
        address=reverse("alerts"),
        panel=remedies.breaking("relay-1"),
        remedy=remedy or _for_trouble(state),
        moved=_sent(kafka),
    )


def _relayed(database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> float | None:
    """Records sent per second: by their traces, or by how the topics grow while a backlog is caught up on."""
    relay = database.value.relay if database.value else None
    traced = relay.per_second if relay else None
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
    panel = remedies.breaking("kafka")
    return Stage(
        "kafka",
        "Kafka",
        state,
        word,
        figures,
        address=reverse("topics"),
        panel=panel,
        remedy=Remedy("Look after it", panel) if panel and state == "bad" else _for_trouble(state),
        moved=read,
    )


def _lane(consumer: Consumer, database: Reading[DatabaseSample], kafka: Reading[KafkaSample]) -> Stage:
    lane = lane_of(consumer, database.value, kafka_away=kafka.away_since is not None)
    state, word = _standing(database, lane.state, lane.word)
    limit = consumer.sync_delay_limit
    delay = Figure(
        "delay",
        "sync delay",
        _quiet(lane.delay, known=lane.delay_known),
        limit=limit,
        beyond=lane.late,
    )
    return Stage(
        consumer.name,
        consumer.name,
        state,
        word,
        (
            Figure("rate", "rate", formats.rate(lane.per_second)),
            Figure("lag", "lag", formats.count(lane.lag)),
            delay,
        ),
        address=remedies.address_of(consumer.name),
        panel=remedies.breaking(f"{consumer.name}-1"),
        remedy=lane.remedy if (state, word) == (lane.state, lane.word) else _for_trouble(state),
        moved=lane.fresh,
        consumer=consumer,
        delay=None if database.away_since else lane.delay,
    )


def _for_trouble(state: str) -> Remedy | None:
    """Where to look when there is nothing better to offer."""
    return remedies.see_alerts() if state in {"warn", "bad"} else None


def _quiet(span: timedelta | None, *, known: bool) -> Text:
    """A delay; when nothing has passed lately there is none to show, which is not the same as not knowing."""
    return Text("none") if known and span is None else formats.delay(span)


def _standing(reading: Reading[T], state: str, word: str) -> tuple[str, str]:
    """The stage's own state, unless the part its figures come from is away or has yet to be asked."""
    if reading.away_since is not None:
        return "bad", "no answer"
    return (state, word) if reading.value is not None else ("none", "asking")
