"""What to do about a part that is not well: one click away, or the command to type."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from dashboard.chaos.channel import in_demo
from dashboard.events.question import REFUSED


@dataclass(frozen=True, slots=True)
class Remedy:
    """Where to go (`address`), or what to type (`command`)."""

    text: str
    address: str = ""
    command: str = ""


def address_of(consumer: str) -> str:
    """A consumer's own page."""
    return f"{reverse('consumers')}{consumer}/"


def letters_of(consumer: str) -> str:
    """The dead letters of a consumer."""
    return f"{reverse('letters')}?{urlencode({'consumer': consumer})}"


def parked_of(consumer: str) -> str:
    """The parked keys of a consumer."""
    return f"{reverse('parked-keys')}?{urlencode({'consumer': consumer})}"


def refused_events() -> str:
    """The events that Kafka refused, and those behind them."""
    return f"{reverse('events')}?{urlencode({'state': REFUSED})}"


def breaking(part: str) -> str:
    """Where the demo's chaos panel has a part; empty outside a demo."""
    return f"{reverse('chaos')}#part-{part}" if in_demo() else ""


def start(part: str, command: str) -> Remedy:
    """Have a part run that does not."""
    panel = breaking(part)
    return Remedy("Start it", panel) if panel else Remedy("Start it", command=command)


def see_why(consumer: str) -> Remedy:
    """Look at a consumer's partitions and instances."""
    return Remedy("See why", address_of(consumer))


def resume(consumer: str) -> Remedy:
    """Have a paused consumer go on."""
    return Remedy("Resume it", address_of(consumer))


def repair(consumer: str) -> Remedy:
    """Do something about what it could not process."""
    return Remedy("Repair", letters_of(consumer))


def let_go_on(consumer: str) -> Remedy:
    """Do something about keys that wait for an event that does not come."""
    return Remedy("Repair", parked_of(consumer))


def see_refused() -> Remedy:
    """Send again what Kafka refused, or give it up."""
    return Remedy("Look at them", refused_events())


def see_alerts() -> Remedy:
    """What else is wrong, and since when."""
    return Remedy("See alerts", reverse("alerts"))
