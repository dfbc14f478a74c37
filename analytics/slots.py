"""Slots of time: where they begin, also in zones whose days are sometimes 23 or 25 hours long."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from analytics.errors import NotAMoment, TooManySlots, UnknownZone, UpsideDown

MINUTE = timedelta(minutes=1)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What is stored, the widest first. All begin at whole multiples of their length since 1970, in UTC.
# Quarters are there for the days and hours of zones that are half or three quarters of an hour off.
WIDTHS = {"1d": DAY, "1h": HOUR, "15m": QUARTER, "5m": 5 * MINUTE, "1m": MINUTE}
# What can be asked for.
SLOTS = ("1m", "5m", "1h", "1d")
MOST_SLOTS = 10_000
# Of slots that are stored as they are asked for in every zone, wherever they are empty: a year of minutes.
MOST_MINUTES = 366 * 24 * 60
STORED_IN_EVERY_ZONE = ("1m", "5m")
# Of slots that are added up from four others each: no answer reads much more than the longest ones do.
MOST_ADDED_UP = 2_500
SLOTS_BY_DEFAULT = 60
# Offsets from UTC of all zones are multiples of QUARTER since Monrovia's, in January of 1972, and so are all
# years from the next on; datetime ends with 9999.
EARLIEST = datetime(1973, 1, 1, tzinfo=UTC)
LATEST = datetime(9998, 1, 1, tzinfo=UTC)

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Span:
    """The slots of one length that begin in [start, end), as a clock in `zone` shows them."""

    slot: str
    start: datetime
    end: datetime
    zone: ZoneInfo

    def edges(self) -> tuple[datetime, datetime]:
        """Where the first slot begins and the last one ends, in UTC; of slots that all zones share."""
        width = WIDTHS[self.slot]
        return _ceiling(self.start, width), _ceiling(self.end, width)

    def boundaries(self) -> list[datetime]:
        """Where each slot begins, in UTC, and where the last one ends. A single one when there are none."""
        if self.slot == "1d":
            return _days(self.start, self.end, self.zone)
        if self.slot == "1h" and not self.in_whole_hours():
            return _hours(self.start, self.end, self.zone)
        return _multiples(self.start, self.end, WIDTHS[self.slot])

    def in_whole_hours(self) -> bool:
        """Whether hours there begin where they begin in UTC, throughout the span."""
        step, moment = 7 * DAY, self.start
        while moment < self.end + step:
            if offset_of(moment, self.zone) % HOUR:
                return False
            moment += step
        return True


def stored_width(boundaries: list[datetime]) -> str:
    """The widest of the stored slots that none of these boundaries cuts."""
    for name, width in WIDTHS.items():
        if all(not (boundary - EPOCH) % width for boundary in boundaries):
            return name
    return "1m"


def cut_hours(boundaries: list[datetime]) -> list[datetime]:
    """The hours of UTC that have a boundary within."""
    return [floor(boundary, HOUR) for boundary in boundaries if (boundary - EPOCH) % HOUR]


def floor(moment: datetime, width: timedelta) -> datetime:
    """The beginning of the stored slot that a moment lies in."""
    return moment - (moment - EPOCH) % width


def offset_of(moment: datetime, zone: ZoneInfo) -> timedelta:
    """What the zone's clocks are ahead of UTC."""
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def zone_named(name: str) -> ZoneInfo:
    """A zone of the IANA database. Raises UnknownZone."""
    if name not in _zone_names():
        raise UnknownZone
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def span_of(*, slot: str, start: str | None, end: str | None, zone: ZoneInfo, now: datetime) -> Span:
    """What a question asks for. `end` is now when left out, `start` SLOTS_BY_DEFAULT slots before.

    Dates, and times without an offset, are read in the zone. Raises NotAMoment, UpsideDown, TooManySlots.
    """
    width = WIDTHS[slot]
    last = now.astimezone(UTC) if end is None else _parsed(end, zone, field="to")
    first = last - SLOTS_BY_DEFAULT * width if start is None else _parsed(start, zone, field="from")
    if first >= last:
        raise UpsideDown(f"The range must begin before it ends; it begins at {first:%Y-%m-%dT%H:%M:%SZ}.")
    count = (last - first) // width
    most = MOST_MINUTES if slot in STORED_IN_EVERY_ZONE else MOST_SLOTS
    if count > most:
        raise TooManySlots(
            f"These are {count:,} slots of {slot}, and at most {most:,} are looked through: "
            f"ask for a shorter range{'' if slot == '1d' else ' or longer slots'}."
        )
    span = Span(slot, first, last, zone)
    if slot == "1h" and count > MOST_ADDED_UP and not span.in_whole_hours():
        raise TooManySlots(
            f"These are {count:,} hours of {zone.key}, which begin between those of UTC, and an answer has at"
            f" most {MOST_ADDED_UP:,} of such: ask for a shorter range or longer slots."
        )
    return span


def _parsed(text: str, zone: ZoneInfo, *, field: str) -> datetime:
    if not _MOMENT.fullmatch(text):
        raise NotAMoment(field)
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotAMoment(field) from None
    if not EARLIEST <= moment < LATEST:
        raise NotAMoment(field)
    return moment


def _ceiling(moment: datetime, width: timedelta) -> datetime:
    return floor(moment + width - timedelta.resolution, width)


def _multiples(start: datetime, end: datetime, width: timedelta) -> list[datetime]:
    first = _ceiling(start, width)
    count = max(0, -((first - end) // width))
    return [first + number * width for number in range(count + 1)]


def _hours(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Where the clock shows a whole hour. Where it is set by half an hour, one lasts half as long again."""
    return _taken((moment for moment in _quarters(start) if moment.astimezone(zone).minute == 0), start, end)


def _quarters(start: datetime) -> Iterator[datetime]:
    moment = floor(start, QUARTER)
    while True:
        yield moment
        moment += QUARTER


def _days(start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Where the calendar of the zone turns."""

    def beginnings() -> Iterator[datetime]:
        day = start.astimezone(zone).date()
        while True:
            beginning = beginning_of(day, zone)
            if beginning is not None:
                yield beginning
            day += DAY

    return _taken(beginnings(), start, end)


def beginning_of(day: date, zone: ZoneInfo) -> datetime | None:
    """The first moment of a day, which need not be midnight; None for a day that the zone left out."""
    beginning = datetime.combine(day, time(), zone).astimezone(UTC)
    # Where clocks are set forward over midnight, what Python takes for it may lie after the day's beginning.
    while (beginning - QUARTER).astimezone(zone).date() == day:
        beginning -= QUARTER
    return beginning if beginning.astimezone(zone).date() == day else None


def _taken(moments: Iterator[datetime], start: datetime, end: datetime) -> list[datetime]:
    """Those from `start` on, up to the first that is not before `end`."""
    taken: list[datetime] = []
    for moment in moments:
        if moment >= start:
            taken.append(moment)
            if moment >= end:
                break
    return taken
