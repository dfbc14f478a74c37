"""Writers that work at once, and what their times come to.

Processes, not threads: a web server's workers are processes, and threads would take turns at the
interpreter's lock with most of what publish() does itself.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

# So long after it was asked for, a piece of work begins in all of them.
LEAD_SECONDS = 0.05


class Writers:
    """So many processes with Django set up, each with a connection of its own."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._pipes = pipes

    def begin(self, work: Callable[[int, float], Any]) -> float:
        """Have all of them do it, with their number and the moment to begin at; return that moment.

        Moments are of time.monotonic(), which is one for all processes of a machine.
        """
        begin = time.monotonic() + LEAD_SECONDS
        for pipe in self._pipes:
            pipe.send((work, begin))
        return begin

    def results(self) -> list[Any]:
        """What each of them returned. Raises EOFError when one has failed."""
        return [pipe.recv() for pipe in self._pipes]

    def run(self, work: Callable[[int, float], Any]) -> list[Any]:
        """begin() and results()."""
        self.begin(work)
        return self.results()


@contextmanager
def writers(count: int) -> Iterator[Writers]:
    """So many, until the end of the block."""
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, number), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        yield Writers(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def _serve(pipe: Connection, number: int) -> None:
    import django

    django.setup()
    while True:
        try:
            work, begin = pipe.recv()
        except EOFError:
            return
        pipe.send(work(number, begin))


def wait_until(moment: float) -> None:
    """Sleep until then, by time.monotonic(); not at all when it has passed."""
    if (left := moment - time.monotonic()) > 0:
        time.sleep(left)


def percentiles(seconds: Sequence[float], *shares: float) -> list[float]:
    """In milliseconds, by the nearest rank."""
    from demo.report import percentile

    ordered = sorted(seconds)
    return [percentile(ordered, share) * 1_000 for share in shares]
