"""What to do about a part that is not well: one click away, or the command to type."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from dashboard.chaos.channel import in_demo


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


def see_alerts() -> Remedy:
    """What else is wrong, and since when."""
    return Remedy("See alerts", reverse("alerts"))
