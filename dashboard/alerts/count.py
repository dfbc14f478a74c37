"""How many alarms there are, for the navigation of all pages: asked every few seconds, not for every page."""

import time

from dashboard.alerts.selectors import count_present

SECONDS = 5.0

_last: tuple[float, tuple[int, bool]] | None = None


def alarm_count() -> tuple[int, bool]:
    """The number of alarms, and whether one is critical; SECONDS old at most."""
    global _last
    if _last is None or time.monotonic() - _last[0] > SECONDS:
        _last = time.monotonic(), count_present()
    return _last[1]


def forget() -> None:
    """Ask again at the next call."""
    global _last
    _last = None
