"""Ends a stack's servers when the process that started them has been killed.

`python -m devstack.guard FOLDER` reads its standard input, a pipe that only the stack's process holds open:
when that process is gone, however it went, the pipe ends. (PR_SET_PDEATHSIG would follow the *thread* that
started a server, and exists on Linux alone.)
"""

import signal
import sys
from pathlib import Path

from devstack.folder import FolderLock
from devstack.leftovers import end_leftovers


def main() -> None:
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    lock = FolderLock(folder)
    # Held by someone else: the stack was stopped in order, or a new one has already cleared the folder.
    if lock.try_acquire(announce=False):
        end_leftovers(folder)


if __name__ == "__main__":
    main()
