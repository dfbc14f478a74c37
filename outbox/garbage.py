"""Garbage collection in a process that holds thousands of records at a time."""

import gc


def collect_seldom() -> None:
    """Leave alone what is loaded by now, and look seldom at the rest: nearly all of it goes by itself.

    At Python's defaults the collector looks through all of Django again and again, which took a third of a
    relay's time. Processes forked afterwards share what is loaded.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
