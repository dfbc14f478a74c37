"""Waiting for something to come true, and not for ever."""

import time
from collections.abc import Callable

DEADLINE = 60.0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
