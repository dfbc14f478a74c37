"""Ending a process in order.

A worker's first signal asks, the second one insists. A web server has handlers of its own.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from functools import cache, partial
from types import FrameType


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM or SIGINT sets; the same signal again ends the process at once."""
    stop = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


@cache
def call_when_server_stops(call: Callable[[], object]) -> None:
    """Have this called in the running event loop when its server is told to stop. Asking again is nothing.

    A server waits for its open requests: those that last must be ended. Its own handlers are called as
    before; where it has none, or is not in the main thread, it has other ways.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        theirs = signal.getsignal(number)
        if callable(theirs):
            signal.signal(number, partial(_call_first, loop, call, theirs))


def _call_first(
    loop: asyncio.AbstractEventLoop,
    call: Callable[[], object],
    theirs: Callable[[int, FrameType | None], object],
    number: int,
    frame: FrameType | None,
) -> None:
    loop.call_soon_threadsafe(call)
    theirs(number, frame)
