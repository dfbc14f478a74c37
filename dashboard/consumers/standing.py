"""How a consumer stands, in words: what stands out most, why, and when it will have caught up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from dashboard import formats, remedies
from dashboard.consumers.curve import Curve
from dashboard.formats import Bounded, Text
from dashboard.remedies import Remedy
from outbox.bounded import many
from outbox.consumer_models import RebuildRequest
from outbox.lag import Lag
from outbox.pausing import ITSELF, Pause
from outbox.positions import AlarmCause
from outbox.registry import Consumer

# An event that waits longer than this for a relay is not on its way, it is stuck.
_UNPUBLISHED = 5.0


@dataclass(frozen=True, slots=True)
class Why:
    """Something that stands out: since when, and what it means."""

    state: str
    text: str
    since: datetime | None = None
    remedy: Remedy | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """What a consumer has set aside: its open dead letters, and keys of it that wait."""

    dead: Bounded
    parked: Bounded


@dataclass(frozen=True, slots=True)
class Standing:
    """A consumer at one moment.

    curve    its lag in seconds lately
    rebuild  the one that is under way, or has stopped
    kafka    whether Kafka answers; None while that is not known
    """

    lag: Lag
    pause: Pause | None
    curve: Curve
    rebuild: RebuildRequest | None
    kafka: bool | None = None

    @property
    def consumer(self) -> Consumer:
        """As it is declared."""
        return self.lag.consumer

    @property
    def state(self) -> str:
        """The shape and the colour of its mark."""
        return self._standing()[0]

    @property
    def word(self) -> str:
        """How it is, in a word or two."""
        return self._standing()[1]

    def _standing(self) -> tuple[str, str]:
        if self.pause is not None:
            nobody = "" if self.lag.members else ", no instance"
            own = self.pause.by == ITSELF
            return ("bad" if own or nobody else "warn"), f"paused{' by itself' if own else ''}{nobody}"
        if not self.lag.members:
            return "bad", "no instance"
        if self.waits_for_kafka:
            return "warn", "waits for Kafka"
        if self.silent_readers and all(member.silent for member in self.lag.members if member.partitions):
            return "warn", "silent"
        if self.falls_behind:
            return "warn", "falling behind"
        if self.late:
            return "warn", "waits for the relay" if self.lag.wait.is_for_relay else "late"
        if self.late is None:
            return "none", "lag not known"
        return "ok", "running"

    def reasons(self) -> Iterator[Why]:
        """All that stands out, the gravest first."""
        lag = self.lag
        if self.pause is not None:
            reason = self.pause.reason or "no reason was given"
            state = "bad" if self.pause.by == ITSELF else "warn"
            yield Why(state, f"Paused by {self.pause.by}: {reason}", self.pause.at)
        if not lag.members:
            name = self.consumer.name
            start = remedies.start(f"{name}-1", f"manage.py run_consumer {name}")
            said = "No instance is there: nothing is processed, and nothing is lost."
            yield Why("bad", said, remedy=start)
        elif self.pause is None and self.unread and not self.waits_for_kafka:
            # While Kafka is away nobody could read: whether it is has to be known first.
            again = "; an instance that stays so is to be started again" if self.kafka else ""
            yield Why(
                "bad" if self.reads_nothing and self.kafka else "warn",
                f"Nobody reads {self.unread} of its partitions, though instances are there. They are being"
                f" shared out, which takes seconds{again}.",
            )
        if self.silent_readers:
            yield Why("warn", self._said_of_silent())
        stands = self.pause is not None or not lag.members or self.waits_for_kafka
        for alarm in lag.alarms:
            # An alarm lasts for a while; and how slow one is that does nothing at all is nothing new.
            if alarm.cause is AlarmCause.FALLING_BEHIND and stands:
                continue
            said = _ALARMS[alarm.cause].format(limit=formats.limit(self.consumer.sync_delay_limit))
            is_so = {AlarmCause.LATE: self.late, AlarmCause.FALLING_BEHIND: self.falls_behind}[alarm.cause]
            if is_so:
                yield Why("warn", said, alarm.since)
            elif is_so is None:
                yield Why("none", f"{said}; not known to be over", alarm.unknown_since)
        if lag.unpublished > _UNPUBLISHED:
            after = (
                "it is sent when Kafka is back" if self.waits_for_kafka else "look after the relay and Kafka"
            )
            yield Why("warn", f"Its oldest event waits in the outbox, unsent: {after}.")

    @property
    def waits_for_kafka(self) -> bool:
        """Whether Kafka is away, so that no instance can do anything."""
        return self.kafka is False

    @property
    def silent_readers(self) -> frozenset[str]:
        """The names of those that may be gone with their partitions; none while Kafka is away: instances wait
        for it then, and nothing is shared out.
        """
        return frozenset() if self.waits_for_kafka else frozenset(one.name for one in self.lag.silent_readers)

    def _said_of_silent(self) -> str:
        gone = self.lag.silent_readers
        places = sum(len(member.partitions) for member in gone)
        whose = f"{gone[0].name} has" if len(gone) == 1 else f"{len(gone)} instances have"
        others = any(not member.silent for member in self.lag.members)
        heir = "the others within seconds" if others else "the next one that is started"
        quiet = max(member.quiet for member in gone)
        return (
            f"{whose} said nothing for {quiet:.0f} s, and may be gone. If so, Kafka gives"
            f" {many(places, 'partition')} to {heir}."
        )

    @property
    def unread(self) -> int:
        """How many partitions no instance reads."""
        return sum(part.member is None for part in self.lag.partitions)

    @property
    def reads_nothing(self) -> bool:
        """Whether instances are there, and none of them reads anything."""
        return bool(self.lag.members) and self.unread == len(self.lag.partitions) > 0

    @property
    def late(self) -> bool | None:
        """Whether its oldest event waits for longer than it may; None while that is not known."""
        return self.lag.late

    @property
    def falls_behind(self) -> bool | None:
        """Whether it was slower than what comes in, and is still.

        None while how much is left is not known.
        """
        if AlarmCause.FALLING_BEHIND not in {alarm.cause for alarm in self.lag.alarms}:
            return False
        if self.lag.events is None:
            return None
        return not self.lag.keeps_up and self.lag.catch_up_seconds is None

    @property
    def events(self) -> Text:
        """How many events Kafka has for it; unknown while nobody has told where a partition ends."""
        return formats.count(self.lag.events)

    @property
    def seconds(self) -> Text:
        """How long its oldest event has waited; unknown while nobody has told of the one that is left."""
        seconds = self.lag.seconds
        if seconds is None:
            return formats.UNKNOWN
        return formats.delay(timedelta(seconds=seconds)) if seconds else Text("0", "s")

    @property
    def delay(self) -> Text:
        """From the event processed last to its effect."""
        return formats.UNKNOWN if self.lag.delay is None else formats.delay(timedelta(seconds=self.lag.delay))

    @property
    def into(self) -> Text:
        """What comes in."""
        return formats.rate(None if self.lag.rates is None else self.lag.rates.into)

    @property
    def out(self) -> Text:
        """What it moves past."""
        return formats.rate(None if self.lag.rates is None else self.lag.rates.out)

    @property
    def catch_up(self) -> Text:
        """Until nothing is left, at the present rates, of one that does not keep up."""
        seconds = self.lag.catch_up_seconds
        if self._waits_for_a_relay or self.lag.events is None:
            return formats.UNKNOWN
        if not self.lag.events:
            return Text("done")
        if self.pause is not None:
            return Text("paused")
        if self.lag.keeps_up:
            return Text("keeps up")
        if seconds is not None:
            return formats.delay(timedelta(seconds=seconds))
        return formats.UNKNOWN if self.lag.rates is None else Text("never")

    @property
    def catch_up_note(self) -> str:
        """What that says."""
        if self._waits_for_a_relay:
            return "events wait for a relay"
        if self.lag.events is None:
            return "how much is left is not known"
        if not self.lag.events:
            return "nothing is left"
        if self.pause is not None:
            return "until it is resumed"
        if self.lag.keeps_up:
            return "what is left is on its way"
        if self.lag.rates is None:
            return "rates are not known yet"
        return "at this rate" if self.lag.catch_up_seconds is None else "until none is left"

    @property
    def _waits_for_a_relay(self) -> bool:
        return self.lag.unpublished > self.lag.sync_delay_limit

    @property
    def idle(self) -> int:
        """How many instances have nothing to read."""
        return sum(member.idle for member in self.lag.members)

    @property
    def members_note(self) -> str:
        """What they do."""
        many = len(self.lag.members)
        if not many:
            return "nobody reads"
        if self.waits_for_kafka:
            return "wait for Kafka"
        if silent := sum(member.silent for member in self.lag.members):
            return f"{silent} of them silent" + (f", {self.idle} idle" if self.idle else "")
        return f"{self.idle} of them idle" if self.idle else "none idle"


_ALARMS = {
    AlarmCause.LATE: "Later than its limit of {limit}",
    AlarmCause.FALLING_BEHIND: "Slower than what comes in",
}
