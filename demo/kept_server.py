"""A server of the stack, kept running like a child: started again when it dies, not while it is stopped."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

from dashboard.chaos.channel import PartState
from demo.child import delays, is_frozen
from demo.output import Output
from devstack.errors import DevstackError
from devstack.server import EmbeddedServer

WATCH_SECONDS = 0.1


class KeptServer:
    """Watches over a server that runs already. The stack ends it with the demo."""

    def __init__(self, name: str, server: EmbeddedServer, *, output: Output) -> None:
        self.name = name
        self._server = server
        self._output = output
        self._pid = server.pid
        self._stopped = False
        self._ending = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """That of its latest process, which may have ended; None while it is stopped."""
        return None if self.state is PartState.STOPPED else self._pid

    @property
    def state(self) -> PartState:
        """As it is now."""
        pid = self._server.pid
        if pid is None:
            return PartState.STOPPED if self._stopped else PartState.STARTING
        if self._stopped:
            return PartState.STOPPING
        if pid != self._pid:
            return PartState.STARTING
        return PartState.FROZEN if is_frozen(pid) else PartState.RUNNING

    async def keep(self, *, changed: Callable[[], None]) -> None:
        """Start it whenever it has died, stop it when it is to be, until the end is near.

        It alone starts and stops the server: neither can come into the other. `changed` is called afterwards.
        """
        pauses, asked = delays(), False
        while not self._ending.is_set():
            if self._stopped:
                await asyncio.to_thread(self._server.stop)
                self._output.say(f"{self.name} has stopped")
                changed()
                while self._stopped and not self._ending.is_set():
                    await self._sleep(WATCH_SECONDS)
                pauses, asked = delays(), True
                continue
            if self._server.alive:
                await self._sleep(WATCH_SECONDS)
                continue
            self._output.say(
                f"{self.name} is started again" if asked else f"{self.name} died: starting it again"
            )
            try:
                await asyncio.to_thread(self._server.start)
            except DevstackError as error:
                if self._ending.is_set():
                    return
                self._output.say(f"{self.name}: {error}")
                await self._sleep(next(pauses))
            else:
                pauses, asked = delays(), False
                self._pid = self._server.pid
                self._output.say(f"{self.name} answers again")
                changed()

    def stop(self) -> None:
        """Have it end in order, and not started again until `start`."""
        self._stopped = True
        self.thaw()

    def start(self) -> None:
        """Have it run again after `stop`."""
        self._stopped = False

    def freeze(self) -> None:
        """Hold it still where it is."""
        if not self._stopped:
            self._server.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was held."""
        self._server.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it as a crash would."""
        await asyncio.to_thread(self._server.kill)

    def release(self) -> None:
        """Let go of it, for the end: the stack stops it, frozen or not."""
        self._ending.set()
        self.thaw()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not into the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)
