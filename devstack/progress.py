"""What a start is doing, for whoever wants to show it, and giving a start up half way."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from devstack.errors import Cancelled


@dataclass(frozen=True)
class Step:
    """One thing being done; `done` of `total` bytes while something is fetched."""

    text: str
    done: int = 0
    total: int = 0


Listener = Callable[[Step], None]


class Progress:
    """Told of every step by the threads of a start, and asked by them whether to go on."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        self._cancelled = Event()

    def report(self, step: Step) -> None:
        """Show the step; raise Cancelled when the start was given up."""
        self.check()
        if self._listener:
            self._listener(step)

    def check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def cancel(self) -> None:
        """Make every thread of the start end at its next step."""
        self._cancelled.set()
