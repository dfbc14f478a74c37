"""How many alarms there are, for the navigation of all pages: asked every few seconds, not for every page."""

import time

from django.template.loader import render_to_string

from dashboard.alerts.selectors import count_present
from dashboard.asking import one_look

SECONDS = 5.0

_last: tuple[float, tuple[int, bool]] | None = None


def alarm_count() -> tuple[int, bool]:
    """The number of alarms, and whether one is critical; SECONDS old at most."""
    global _last
    if _last is None or time.monotonic() - _last[0] > SECONDS:
        with one_look():
            _last = time.monotonic(), count_present()
    return _last[1]


def alarm_badge() -> str:
    """The same as the navigation shows it; empty for none."""
    count, grave = alarm_count()
    return render_to_string("dashboard/parts/count.html", {"count": count, "grave": grave})


def forget() -> None:
    """Ask again at the next call."""
    global _last
    _last = None
