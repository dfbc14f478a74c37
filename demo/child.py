"""One process of the demo: started, followed, restarted when it dies, stopped and started when told to."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from dashboard.chaos.channel import PartState
from demo.output import Output
from demo.parts import Part

# A process that lived this long was well: its next death is restarted at once.
WELL = 20.0
LONGEST_DELAY = 10.0
# For one that is told to stop; what takes longer is killed.
GRACE = 5.0


def delays() -> Iterator[float]:
    """Seconds before each next start of a process that keeps dying: at once, then longer and longer."""
    yield 0.0
    delay = 0.5
    while True:
        yield delay
        delay = min(delay * 2, LONGEST_DELAY)


def cause_of_death(status: int) -> str:
    """What an exit status says, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def is_frozen(pid: int) -> bool:
    """Whether the system holds this process still, whoever asked it to."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


class Child:
    """Runs a part in a session of its own: Ctrl-C reaches the demo alone, which ends all in order."""

    def __init__(self, part: Part, *, folder: Path, environment: Mapping[str, str], output: Output) -> None:
        self.name = part.name
        self._command = part.command
        self._folder = folder
        self._environment = {**environment, **part.environment}
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False
        self._told_to_stop = False
        self._ending = False
        # Set when there is no more reason to wait for a next start.
        self._called = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The latest process, which may have ended; None before the first, and while it is stopped."""
        return self._process.pid if self._process and self.state is not PartState.STOPPED else None

    @property
    def state(self) -> PartState:
        """As it is now."""
        if self._process is None or not self.alive:
            return PartState.STOPPED if self._stopped else PartState.STARTING
        if self._told_to_stop:
            return PartState.STOPPING
        return PartState.FROZEN if is_frozen(self._process.pid) else PartState.RUNNING

    async def run(self) -> int:
        """Start it, show what it writes, and return its exit status: negative for a signal."""
        process = await self._spawn()
        return await self._ended(process)

    async def keep(self, *, changed: Callable[[], None]) -> None:
        """Run it, and again after each death, until it is told to end; not while it is stopped.

        `changed` is called at each start, and when it has stopped.
        """
        pauses = delays()
        while not self._ending:
            if self._stopped:
                self._output.say(f"{self.name} has stopped")
                changed()
                while self._stopped and not self._ending:
                    await self._wait(None)
                pauses = delays()
                continue
            began = time.monotonic()
            process = await self._spawn()
            changed()
            status = await self._ended(process)
            if self._ending or self._told_to_stop:
                continue
            if time.monotonic() - began > WELL:
                pauses = delays()
            pause = next(pauses)
            when = f"in {pause:g} s" if pause else "now"
            self._output.say(f"{self.name} died ({cause_of_death(status)}): starting it again {when}")
            await self._wait(pause)

    async def _wait(self, seconds: float | None) -> None:
        """Until it is to be started or to end, or for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._called.wait(), seconds)
            self._called.clear()

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._told_to_stop = False
        if not self._ending:
            self._called.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            cwd=self._folder,
            start_new_session=True,
        )
        if self._ending:
            self.terminate()
        elif self._stopped:
            self.stop()
        return self._process

    async def _ended(self, process: asyncio.subprocess.Process) -> int:
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        follow = asyncio.create_task(self._output.follow(process.stdout, name=self.name))
        try:
            return await process.wait()
        finally:
            # What it wrote last is still read; a grandchild that holds the pipe open is not waited for.
            await asyncio.wait([follow], timeout=0.2)
            follow.cancel()

    @property
    def alive(self) -> bool:
        """Whether a process runs."""
        return self._process is not None and self._process.returncode is None

    def terminate(self) -> None:
        """Ask it to end in order, for good."""
        self._ending = True
        self._called.set()
        self._signal(signal.SIGTERM)
        self.thaw()

    def stop(self) -> None:
        """Ask it to end in order, by force after GRACE, and do not start it again until `start`."""
        self._stopped = True
        self._called.set()
        if self._process and self.alive and not self._told_to_stop:
            self._told_to_stop = True
            self._signal(signal.SIGTERM)
            self.thaw()
            asyncio.get_running_loop().call_later(GRACE, self._kill_if_still, self._process)

    def start(self) -> None:
        """Have it run again after `stop`."""
        self._stopped = False
        self._called.set()

    def freeze(self) -> None:
        """Hold it still where it is: it answers nobody, and knows nothing of it."""
        if not self._told_to_stop:
            self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was held."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, and what it has started."""
        self._signal(signal.SIGKILL)

    def _kill_if_still(self, process: asyncio.subprocess.Process) -> None:
        if process is self._process and self.alive:
            self._output.say(f"{self.name} did not stop within {GRACE:g} s: killed")
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.alive:
            with suppress(ProcessLookupError):
                if number is signal.SIGTERM:
                    self._process.send_signal(number)
                else:
                    os.killpg(self._process.pid, number)
