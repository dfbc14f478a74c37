"""Keeps the demo's processes running, does to them what it is asked, and ends them within ten seconds."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from dashboard.chaos.channel import DemoPart, Refused, Verb
from demo.child import GRACE, Child
from demo.kept_server import WATCH_SECONDS, KeptServer
from demo.output import Output
from devstack.errors import NotEmbedded
from devstack.server import EmbeddedServer
from devstack.stack import Stack

# All is to be gone within ten seconds; a server that takes longer is killed, and recovers at its next start.
SERVERS_GRACE = 3.5
# What a visitor cannot break from the panel, and why.
SPARED = {
    "web": "serves this page; kill it by its pid, and the page finds it again",
    "postgres": "without it no page can be made; kill it by its pid, and all goes on where it was",
}

Announce = Callable[[Mapping[str, int]], None]


class Supervisor:
    """The children and the stack's own servers, each restarted when it dies, but not while it is stopped."""

    def __init__(self, *, children: list[Child], stack: Stack, output: Output) -> None:
        self._children = children
        self._stack = stack
        self._embedded = embedded_servers(stack)
        self._servers = [KeptServer(name, one, output=output) for name, one in self._embedded.items()]
        self._kept: tuple[Child | KeptServer, ...] = (*children, *self._servers)
        self._output = output
        self._announce: Announce | None = None
        self._ending = False
        self._keepers: list[asyncio.Task[None]] = []

    def start(self, *, failed: Callable[[BaseException], None]) -> None:
        """Start every child, and watch over them and the servers. `failed` is told when that cannot go on."""

        def check(keeper: asyncio.Task[None]) -> None:
            if not keeper.cancelled() and (error := keeper.exception()):
                failed(error)

        self._keepers = [asyncio.create_task(one.keep(changed=self._changed)) for one in self._kept]
        for keeper in self._keepers:
            keeper.add_done_callback(check)

    def processes(self) -> dict[str, int]:
        """The pid of each process by name; for one that is just being restarted the pid it had.

        What is stopped is left out: its number may soon be another's.
        """
        pids = {one.name: one.pid for one in self._kept}
        return {name: pid for name, pid in pids.items() if pid is not None}

    def parts(self) -> list[DemoPart]:
        """Every part as it is now."""
        return [DemoPart(one.name, one.state, one.pid, SPARED.get(one.name, "")) for one in self._kept]

    async def steer(self, verb: Verb, name: str) -> None:
        """Do this to a part. What takes long goes on afterwards. Raises Refused."""
        part = next((one for one in self._kept if one.name == name), None)
        if part is None:
            raise Refused(f"There is no part {name[:40]!r} in this demo.")
        if name in SPARED:
            raise Refused(f"{name} {SPARED[name]}.")
        if self._ending:
            raise Refused("The demo is ending.")
        match verb:
            case Verb.STOP:
                part.stop()
            case Verb.START:
                part.start()
            case Verb.FREEZE:
                part.freeze()
            case Verb.THAW:
                part.thaw()
            case Verb.KILL if isinstance(part, KeptServer):
                await part.kill()
            case Verb.KILL:
                part.kill()

    def announce(self, announce: Announce) -> None:
        """Tell of the pid of every process, now and whenever one changes."""
        self._announce = announce
        self._changed()

    async def end(self) -> None:
        """End the children in order, then the servers; by force what does not end in time."""
        self._ending = True
        for server in self._servers:
            server.release()
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

    def _changed(self) -> None:
        if self._announce and not self._ending:
            self._announce(self.processes())

    def _kill_servers(self) -> None:
        for name, server in self._embedded.items():
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
