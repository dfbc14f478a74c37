"""Several instances of a consumer under one parent, that starts them again when they die.

They are forked from a process that has loaded the project and opened nothing: a new one is there at once,
and shares the memory of what was loaded. Each holds the reading end of a pipe of which the parent alone holds
the other end: when the parent is gone, however it went, the pipe ends, and they end in order.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import connections

from outbox.errors import OutboxError
from outbox.recovery import backoff
from outbox.stopping import stop_on_signals
from outbox.tracing import flush

WATCH = 0.1
# An instance that lived so long was well: it is started again at once.
WELL = 20.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0
# An orphan that does not come to an end by itself is ended.
ORPHAN_SECONDS = 60.0

logger = logging.getLogger(__name__)

# With the event that ends it, and the place of the instance among its like, from 0.
Work = Callable[[threading.Event, int], None]


@dataclass
class _Instance:
    """A place for a process; `pid` is 0 while there is none in it."""

    number: int
    delays: Iterator[float]
    pid: int = 0
    started_at: float = 0.0
    due_at: float = 0.0


class Instances:
    """Keeps `count` processes running, each of which does `work` until its event is set.

    name  what the log calls them
    """

    def __init__(self, name: str, work: Work, *, count: int) -> None:
        self._name = name
        self._work = work
        self._instances = [_Instance(number, _delays()) for number in range(1, count + 1)]
        self._ended_badly = 0

    def run(self) -> int:
        """Return when SIGTERM or SIGINT came and all have ended: how many of them did so in disorder.

        Each gets a SIGTERM, and finishes what it has in hand. The same signal again ends this process at
        once, and they come to their end by themselves.
        """
        # Sessions and threads do not survive a fork.
        connections.close_all()
        self._stop = stop_on_signals()
        self._reading, self._writing = os.pipe()
        try:
            while not self._stop.is_set():
                self._collect()
                self._start_due()
                self._stop.wait(WATCH)
            self._terminate()
            while any(one.pid for one in self._instances):
                self._collect()
                time.sleep(WATCH / 10)
        finally:
            os.close(self._writing)
            os.close(self._reading)
        return self._ended_badly

    def _start_due(self) -> None:
        for one in self._instances:
            if not one.pid and time.monotonic() >= one.due_at:
                one.started_at = time.monotonic()
                one.pid = os.fork()
                if not one.pid:
                    os._exit(self._live(one.number))

    def _collect(self) -> None:
        """Take note of those that have ended, and of when they are to be started again."""
        for one in self._instances:
            ended, status = os.waitpid(one.pid, os.WNOHANG) if one.pid else (0, 0)
            if not ended:
                continue
            pid, one.pid = one.pid, 0
            cause = _cause_of_death(os.waitstatus_to_exitcode(status))
            if self._stop.is_set():
                self._ended_badly += status != 0
                if status:
                    logger.error("%s: instance %s (pid %s) ended by %s", self._name, one.number, pid, cause)
                continue
            well = time.monotonic() - one.started_at > WELL
            if well:
                one.delays = _delays()
            delay = 0.0 if well else next(one.delays)
            one.due_at = time.monotonic() + delay
            logger.warning(
                "%s: instance %s (pid %s) died by %s, is started again in %.1f s",
                self._name,
                one.number,
                pid,
                cause,
                delay,
            )

    def _terminate(self) -> None:
        for one in self._instances:
            if one.pid:
                os.kill(one.pid, signal.SIGTERM)

    def _live(self, number: int) -> int:
        """The whole life of an instance; its exit status."""
        os.close(self._writing)
        stop = stop_on_signals()
        if self._stop.is_set():
            stop.set()  # the signal came between the fork and the line above
        threading.Thread(target=_follow_parent, args=(self._reading, stop), daemon=True).start()
        try:
            self._work(stop, number - 1)
        except OutboxError as error:
            logger.error("%s: %s", self._name, error)
            return 1
        except BaseException:
            logger.exception("%s: an instance failed", self._name)
            return 1
        finally:
            flush()
            sys.stdout.flush()
            sys.stderr.flush()
        return 0


def _follow_parent(reading: int, stop: threading.Event) -> None:
    """Come to an end when the parent is gone."""
    os.read(reading, 1)
    stop.set()
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def _delays() -> Iterator[float]:
    return backoff(first=FIRST_DELAY, most=LONGEST_DELAY)


def _cause_of_death(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
