"""The demo's end of the control channel: see dashboard/chaos/channel.py for what is spoken on it."""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dashboard.chaos.channel import Refused, Verb
from demo.output import Output
from demo.supervisor import Supervisor

SOCKET = "control.sock"
# What the system takes as a socket's name, less one byte for its end (Linux takes 108, others less).
LONGEST_PATH = 103
LONGEST_REQUEST = 200
PATIENCE = 2.0


def socket_path(folder: Path) -> Path:
    """Where the channel is: in the demo's folder, or in a new one of its own where that name is too long."""
    path = folder / SOCKET
    if len(os.fsencode(path)) > LONGEST_PATH:
        path = Path(tempfile.mkdtemp(prefix="eventsite-")) / SOCKET
    return path


@asynccontextmanager
async def control_channel(path: Path, *, supervisor: Supervisor, output: Output) -> AsyncIterator[None]:
    """Serve requests on a socket at this path meanwhile; it is gone afterwards."""
    path.unlink(missing_ok=True)  # a killed demo's; the folder's lock is ours
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    # Before it listens: nobody can have connected yet.
    path.chmod(0o600)
    server = await asyncio.start_unix_server(
        Control(supervisor, output).serve, sock=listening, limit=LONGEST_REQUEST
    )
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


class Control:
    """Answers one request on each connection. Whatever a peer sends, nobody else waits for it."""

    def __init__(self, supervisor: Supervisor, output: Output) -> None:
        self._supervisor = supervisor
        self._output = output

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a line, do what it says, answer with a line, hang up."""
        try:
            answer = await self._answer(reader)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readuntil(b"\n")
            verb, name = _parsed(line)
            if verb is not Verb.LIST:
                await self._supervisor.steer(verb, name)
                self._output.say(f"asked from the chaos panel: {verb} {name}")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return {"error": f"A request is one line of at most {LONGEST_REQUEST} bytes."}
        except Refused as refusal:
            return {"error": str(refusal)}
        return {"parts": [asdict(part) for part in self._supervisor.parts()]}


def _parsed(line: bytes) -> tuple[Verb, str]:
    """A verb and a part's name. Raises Refused."""
    words = line.decode(errors="replace").split()
    try:
        verb = Verb(words[0])
    except (IndexError, ValueError):
        raise Refused(f"A request begins with one of: {', '.join(Verb)}.") from None
    names = words[1:]
    if len(names) != (verb is not Verb.LIST):
        raise Refused("`list` stands alone; every other verb is followed by the name of one part.")
    return verb, names[0] if names else ""
