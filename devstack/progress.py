"""What a start is doing, for whoever wants to show it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One thing being done; `done` of `total` bytes while something is fetched."""

    text: str
    done: int = 0
    total: int = 0


Report = Callable[[Step], None]


def silent(step: Step) -> None:
    """Show nothing."""
