"""Keeps the demo's processes running, and ends all of them within ten seconds."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from demo.child import Child, delays
from demo.output import Output
from devstack.errors import DevstackError, NotEmbedded
from devstack.server import EmbeddedServer
from devstack.stack import Stack

WATCH_SECONDS = 0.1
GRACE = 5.0
# All is to be gone within ten seconds; a server that takes longer is killed, and recovers at its next start.
SERVERS_GRACE = 3.5


Announce = Callable[[Mapping[str, int]], None]


class Supervisor:
    """The children and the stack's own servers, each restarted when it dies."""

    def __init__(self, *, children: list[Child], stack: Stack, output: Output) -> None:
        self._children = children
        self._stack = stack
        self._servers = embedded_servers(stack)
        self._server_pids = {name: server.pid for name, server in self._servers.items()}
        self._output = output
        self._announce: Announce | None = None
        self._ending = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []

    def start(self, *, failed: Callable[[BaseException], None]) -> None:
        """Start every child, and watch over them and the servers. `failed` is told when that cannot go on."""

        def check(keeper: asyncio.Task[None]) -> None:
            if not keeper.cancelled() and (error := keeper.exception()):
                failed(error)

        keepers = [child.keep(started=self._changed) for child in self._children]
        keepers += [self._keep_server(name, server) for name, server in self._servers.items()]
        self._keepers = [asyncio.create_task(keeper) for keeper in keepers]
        for keeper in self._keepers:
            keeper.add_done_callback(check)

    def processes(self) -> dict[str, int]:
        """The pid of each process by name; for one that is just being restarted the pid it had."""
        pids = {child.name: child.pid for child in self._children} | self._server_pids
        return {name: pid for name, pid in pids.items() if pid is not None}

    def announce(self, announce: Announce) -> None:
        """Tell of the pid of every process, now and whenever one changes."""
        self._announce = announce
        self._changed()

    async def end(self) -> None:
        """End the children in order, then the servers; by force what does not end in time."""
        self._ending.set()
        for child in self._children:
            child.terminate()
        await self._wait_for_children(GRACE)
        for child in self._children:
            if child.alive:
                self._output.say(f"{child.name} did not end within {GRACE:g} s: killed")
                child.kill()
        await self._wait_for_children(GRACE)
        force = asyncio.get_running_loop().call_later(SERVERS_GRACE, self._kill_servers)
        await asyncio.to_thread(self._stack.stop)
        force.cancel()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def end_at_once(self) -> None:
        """Kill the children that are still ending: whoever asks a second time does not want to wait."""
        for child in self._children:
            child.kill()

    async def _wait_for_children(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(child.alive for child in self._children):
                    await asyncio.sleep(WATCH_SECONDS / 4)

    async def _keep_server(self, name: str, server: EmbeddedServer) -> None:
        pauses = delays()
        while not self._ending.is_set():
            if server.alive:
                await self._sleep(WATCH_SECONDS)
                continue
            self._output.say(f"{name} died: starting it again")
            try:
                await asyncio.to_thread(server.start)
            except DevstackError as error:
                if self._ending.is_set():
                    return
                self._output.say(f"{name}: {error}")
                await self._sleep(next(pauses))
            else:
                pauses = delays()
                self._server_pids[name] = server.pid
                self._output.say(f"{name} answers again")
                self._changed()

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not into the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _changed(self) -> None:
        if self._announce and not self._ending.is_set():
            self._announce(self.processes())

    def _kill_servers(self) -> None:
        for name, server in self._servers.items():
            if server.alive:
                self._output.say(f"{name} did not end within {SERVERS_GRACE:g} s: killed")
                server.kill()


def embedded_servers(stack: Stack) -> dict[str, EmbeddedServer]:
    """The servers that this stack runs itself; those given by the environment are others' to keep."""
    parts: dict[str, Callable[[], EmbeddedServer]] = {
        "kafka": lambda: stack.kafka,
        "postgres": lambda: stack.postgres,
    }
    found = {}
    for name, part in parts.items():
        with suppress(NotEmbedded):
            found[name] = part()
    return found
