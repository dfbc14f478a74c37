"""How figures read: short, with their unit, and never 0 where the truth is unknown."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from outbox.bounded import Bounded as Bounded


@dataclass(frozen=True, slots=True)
class Text:
    """A figure in words. `known` is false when the system could not be asked."""

    value: str
    unit: str = ""
    known: bool = True

    def __str__(self) -> str:
        return f"{self.value} {self.unit}".rstrip()


UNKNOWN = Text("\N{EN DASH}", known=False)


def rate(per_second: float | None) -> Text:
    """Events per second; one decimal below ten, so that a slow trickle is not 0."""
    if per_second is None:
        return UNKNOWN
    if 0 < per_second < 0.05:
        return Text("<0.1", "/s")
    precise = 0 < per_second < 9.95
    return Text(f"{per_second:.1f}" if precise else f"{per_second:,.0f}", "/s")


def count(number: int | Bounded | None) -> Text:
    """How many."""
    if number is None:
        return UNKNOWN
    return Text(str(number) if isinstance(number, Bounded) else f"{number:,}")


def delay(span: timedelta | None) -> Text:
    """A time span in the unit that fits it: 8 ms, 1.2 s, 4 min, 3 h, 2 d; never less than 0."""
    if span is None:
        return UNKNOWN
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 0.9995:
        return Text(f"{seconds * 1000:.0f}", "ms")
    if seconds < 9.95:
        return Text(f"{seconds:.1f}", "s")
    if seconds < 119.5:
        return Text(f"{seconds:.0f}", "s")
    if seconds < 7_170:
        return Text(f"{seconds / 60:.0f}", "min")
    if seconds < 172_800:
        return Text(f"{seconds / 3_600:.0f}", "h")
    return Text(f"{seconds / 86_400:,.0f}", "d")


def limit(span: timedelta) -> str:
    """A limit as it was declared: 5 s, 90 s, 2 min."""
    seconds = span.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"


def short_id(whole: UUID | str | None) -> str:
    """An id shortened in the middle. UUIDv7s of one hour begin alike: the end tells them apart."""
    text = str(whole or "")
    return text if len(text) <= 13 else f"{text[:4]}…{text[-6:]}"
