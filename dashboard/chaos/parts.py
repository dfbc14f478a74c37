"""The parts of the demo as the panel shows them: what may be done to each, and what comes of it, in words."""

from collections.abc import Iterator
from dataclasses import dataclass

from dashboard.chaos.channel import DemoPart, PartState, Verb

# How a state looks: mark and colour.
MARKS = {
    PartState.RUNNING: "ok",
    PartState.FROZEN: "warn",
    PartState.STARTING: "wait",
    PartState.STOPPING: "wait",
    PartState.STOPPED: "bad",
}
TITLES = {
    Verb.STOP: "Stop",
    Verb.START: "Start",
    Verb.FREEZE: "Freeze",
    Verb.THAW: "Thaw",
    Verb.KILL: "Kill",
}
_ORDER = ("relay", "kafka", "consumer", "worker", "beat")
_OFFERED = {
    PartState.RUNNING: (Verb.STOP, Verb.FREEZE, Verb.KILL),
    PartState.FROZEN: (Verb.THAW, Verb.STOP, Verb.KILL),
    PartState.STARTING: (Verb.STOP,),
    PartState.STOPPING: (Verb.START,),
    PartState.STOPPED: (Verb.START,),
}
_CONSEQUENCES = {
    "relay": {
        Verb.STOP: "Payments go on. Their events wait in the outbox until it is started; none is lost.",
        Verb.START: "It goes on at its cursor: all that waits in the outbox is sent, in order.",
        Verb.FREEZE: "Nothing is sent. Its lease ends after 5 s; what it sends twice when thawed is dropped.",
        Verb.THAW: "It notices that its lease is over, takes it again, and goes on at its cursor.",
        Verb.KILL: "As a crash. It is started again at once; events wait up to 5 s for its lease to end.",
    },
    "consumer": {
        Verb.STOP: "Its events wait in Kafka and its sync delay grows; all other services go on.",
        Verb.START: "It reads on from where it was. Every event that waited is processed once.",
        Verb.FREEZE: "Kafka takes its partitions away after 6 s; nobody else reads them: its events wait.",
        Verb.THAW: "It finds its place in the group lost, joins again, and does nothing twice.",
        Verb.KILL: "As a crash. The batch in hand is rolled back and comes again, after up to 6 s.",
    },
    "worker": {
        Verb.STOP: "Nothing that is due is done: payments do not expire, slots of volumes do not close.",
        Verb.START: "It takes up what waits in its queue.",
        Verb.FREEZE: "Its tasks are given out again after 60 s; each may run twice without harm.",
        Verb.THAW: "It goes on with its tasks.",
        Verb.KILL: "As a crash. Its tasks run again after 60 s; each may run twice without harm.",
    },
    "beat": {
        Verb.STOP: "Nobody says what is due: payments do not expire, slots do not close, jobs do not go on.",
        Verb.START: "It says at once what is due.",
        Verb.FREEZE: "As if stopped: nobody says what is due.",
        Verb.THAW: "It goes on, and says at once what is due.",
        Verb.KILL: "As a crash. It is started again at once, and nothing is missed.",
    },
    "kafka": {
        Verb.STOP: "Payments go on. Events wait in the outbox, and no service hears of any.",
        Verb.START: "It answers after some seconds; the relay and all services go on by themselves.",
        Verb.FREEZE: "It answers nobody. Relay and services wait for it, and payments go on.",
        Verb.THAW: "Relay and services go on by themselves; nothing is sent twice into a key's order.",
        Verb.KILL: "As a crash. It is started again at once; what it has acknowledged is still there.",
    },
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that can be done to a part now, and what comes of it."""

    verb: Verb
    title: str
    consequence: str
    value: str


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part on the panel."""

    name: str
    word: str
    mark: str
    pid: int | None
    spared: str
    choices: tuple[Choice, ...]


def shown_parts(parts: list[DemoPart]) -> list[ShownPart]:
    """In the order of the pipeline, those that cannot be steered last."""
    return [_shown(part) for part in sorted(parts, key=_place)]


def _place(part: DemoPart) -> tuple[bool, int]:
    return bool(part.spared), _ORDER.index(kind_of(part.name))


def _shown(part: DemoPart) -> ShownPart:
    return ShownPart(
        name=part.name,
        word=part.state,
        mark=MARKS[part.state],
        pid=part.pid,
        spared=part.spared,
        choices=() if part.spared else tuple(_choices(part)),
    )


def _choices(part: DemoPart) -> Iterator[Choice]:
    said = _CONSEQUENCES[kind_of(part.name)]
    for verb in _OFFERED[part.state]:
        yield Choice(verb, TITLES[verb], said[verb], f"{verb} {part.name}")


def kind_of(name: str) -> str:
    """What a part is: relay, consumer, worker, beat or kafka."""
    base = name.rpartition("-")[0] or name
    return base if base in _CONSEQUENCES else "consumer"
