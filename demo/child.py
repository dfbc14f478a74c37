"""One process of the demo: started, followed, restarted when it dies, ended."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from demo.output import Output
from demo.parts import Part

# A process that lived this long was well: its next death is restarted at once.
WELL = 20.0
LONGEST_DELAY = 10.0


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


class Child:
    """Runs a part in a session of its own: Ctrl-C reaches the demo alone, which ends all in order."""

    def __init__(self, part: Part, *, folder: Path, environment: Mapping[str, str], output: Output) -> None:
        self.name = part.name
        self._command = part.command
        self._folder = folder
        self._environment = {**environment, **part.environment}
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._ending = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The latest process, which may have ended; None before the first."""
        return self._process.pid if self._process else None

    async def run(self) -> int:
        """Start it, show what it writes, and return its exit status: negative for a signal."""
        process = await self.start()
        return await self._ended(process)

    async def keep(self, *, started: Callable[[], None]) -> None:
        """Run it, and again after each death, until it is told to end. `started` is called at each start."""
        pauses = delays()
        while not self._ending.is_set():
            began = time.monotonic()
            process = await self.start()
            started()
            status = await self._ended(process)
            if self._ending.is_set():
                return
            if time.monotonic() - began > WELL:
                pauses = delays()
            pause = next(pauses)
            when = f"in {pause:g} s" if pause else "now"
            self._output.say(f"{self.name} died ({cause_of_death(status)}): starting it again {when}")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def start(self) -> asyncio.subprocess.Process:
        """Start it once."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            cwd=self._folder,
            start_new_session=True,
        )
        if self._ending.is_set():
            self.terminate()
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
        self._ending.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and what it has started."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.alive:
            with suppress(ProcessLookupError):
                if number is signal.SIGKILL:
                    os.killpg(self._process.pid, number)
                else:
                    self._process.send_signal(number)
