"""Ends a stack's servers when the process that started them has been killed.

`python -m devstack.guard FOLDER` reads its standard input, a pipe that only the stack's process holds open:
when that process is gone, however it went, the pipe ends. (PR_SET_PDEATHSIG would follow the *thread* that
started a server, and exists on Linux alone.)
"""

import signal
import sys
import time
from pathlib import Path

from devstack.folder import FolderLock
from devstack.leftovers import end_leftovers

PATIENCE = 5.0


def main() -> None:
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read():
        return  # a farewell: the stack is stopped in order
    lock = FolderLock(folder)
    # A dying process may close the pipe before it lets go of its lock. Held for longer, it is a new stack's,
    # which has already cleared the folder.
    end = time.monotonic() + PATIENCE
    while not lock.try_acquire(announce=False):
        if time.monotonic() > end:
            return
        time.sleep(0.05)
    end_leftovers(folder)


if __name__ == "__main__":
    main()
