"""What a killed run left behind: found by what it is, never by a pid out of a file."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from devstack.process import kill_tree, wait_gone

TIMEOUT = 10.0


def marker(folder: Path) -> str:
    """What every server of a folder's stack carries in its command line, to be told from all other processes.

    PostgreSQL takes it as a setting of an extension (-c), Java as a system property (-D).
    """
    return f"devstack.folder={folder}"


def leftovers(folder: Path) -> list[psutil.Process]:
    """Living servers of this very folder."""
    mark = marker(folder)
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if process.pid != os.getpid() and not {mark, f"-D{mark}"}.isdisjoint(process.cmdline()):
                found.append(process)
    return found


def end_leftovers(folder: Path) -> int:
    """End them: in order first, by force afterwards. Returns how many there were.

    To be called by the holder of the folder's lock, to whom no server belongs yet. SIGINT is PostgreSQL's
    fast shutdown, and an ordinary one for Java.
    """
    found = leftovers(folder)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
            process.resume()  # one that was frozen hears nothing before
    for process in wait_gone(found, timeout=TIMEOUT):
        kill_tree(process)
    return len(found)


def end_orphans(data: Path) -> None:
    """Kill PostgreSQL's children of this data folder, whose own parent was killed.

    They end by themselves, but hold its shared memory until they do, and no server can start meanwhile.
    """
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if process.name() == "postgres" and process.cwd() == str(data):
                kill_tree(process)
