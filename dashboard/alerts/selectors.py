"""What the page shows of the alarms: those of now, those that ended lately, and who is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse

from dashboard import remedies
from outbox import clock
from outbox.alerts.alarms import Alarm, Channel, Notice
from outbox.alerts.causes import Cause, Severity
from outbox.alerts.checking import checked_at
from outbox.alerts.options import alert_options
from outbox.alerts.sending import ways
from outbox.registry import all_consumers

ENDED = 50
# Nobody has looked for so long: then nobody does.
UNWATCHED = timedelta(seconds=60)
WAITING = 1_000


@dataclass(frozen=True, slots=True)
class Shown:
    """An alarm of now, and where to go; `silenced` while nobody is told of it."""

    alarm: Alarm
    page: str
    page_title: str
    silenced: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A way of telling people.

    waiting  notices that it has yet to get, WAITING at most
    row      None before it was used first
    """

    shown: str
    row: Channel | None
    waiting: int


@dataclass(frozen=True, slots=True)
class Picture:
    """All of the page. `watched` is whether anybody has looked for alarms lately."""

    present: tuple[Shown, ...]
    ended: tuple[Alarm, ...]
    told: tuple[Told, ...]
    checked_at: datetime | None
    watched: bool


def picture() -> Picture:
    """As it is now. A handful of reads by index."""
    now, checked = clock.now(), checked_at()
    present = Alarm.objects.present().worst_first()
    ended = Alarm.objects.filter(ended_at__isnull=False).order_by("-ended_at")[:ENDED]
    return Picture(
        present=tuple(_shown(alarm, now) for alarm in present),
        ended=tuple(ended),
        told=tuple(_told()),
        checked_at=checked,
        watched=checked is not None and now - checked < UNWATCHED,
    )


def _shown(alarm: Alarm, now: datetime) -> Shown:
    silenced = alarm.silenced_until is not None and alarm.silenced_until > now
    address, title = _PLACES.get(alarm.cause, _nowhere)(alarm.subject)
    return Shown(alarm, address, title, silenced)


def _nowhere(_: str) -> tuple[str, str]:
    return "", ""


def _consumer(name: str) -> tuple[str, str]:
    if any(consumer.name == name for consumer in all_consumers()):
        return remedies.address_of(name), name.capitalize()
    return reverse("consumers"), "Consumers"


# Where an operator goes from an alarm about a subject: the address, and what is there.
_PLACES: dict[str, Callable[[str], tuple[str, str]]] = {
    Cause.NO_RELAY: lambda _: (reverse("flow"), "Flow"),
    Cause.BACKLOG: lambda _: (reverse("flow"), "Flow"),
    Cause.KAFKA_AWAY: lambda _: (reverse("topics"), "Topics"),
    Cause.LOST: lambda _: (reverse("topics"), "Topics"),
    Cause.REFUSED: lambda _: (remedies.refused_events(), "Refused events"),
    Cause.DEAD_LETTERS: lambda consumer: (remedies.letters_of(consumer), "Dead letters"),
    Cause.GAPS: lambda consumer: (remedies.parked_of(consumer), "Parked keys"),
    Cause.NO_INSTANCE: _consumer,
    Cause.LATE: _consumer,
    Cause.FALLING_BEHIND: _consumer,
    Cause.PAUSED_ITSELF: _consumer,
    Cause.PAUSED: _consumer,
}


def _told() -> Iterator[Told]:
    rows = {row.name: row for row in Channel.objects.all()}
    for way in ways(alert_options()):
        row = rows.get(way.name)
        waiting = len(Notice.objects.left_for(row).values_list("id")[:WAITING]) if row else 0
        yield Told(way.shown, row, waiting)


def count_present() -> tuple[int, bool]:
    """How many alarms there are now, and whether one is critical."""
    severities = list(Alarm.objects.present().values_list("severity", flat=True))
    return len(severities), Severity.CRITICAL in severities
