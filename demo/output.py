"""One terminal for many processes: each line bears its process's name, in a colour of its own."""

import asyncio
import io
import os
import sys
from typing import TextIO

_COLOURS = (36, 35, 34, 32, 96, 95, 94, 92)
_CHUNK = 65_536
NAME_WIDTH = 9


def wants_colours(stream: TextIO) -> bool:
    """Whether the stream is a terminal that shows colours, by the customs NO_COLOR and FORCE_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


class Output:
    """Lines of the demo and of its processes, whole and in the order they came."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream: TextIO | None = stream
        if isinstance(stream, io.TextIOWrapper):
            # Whatever the terminal's encoding: a character that it lacks is no reason to end.
            stream.reconfigure(errors="backslashreplace")
        self.coloured = wants_colours(stream)
        self._known: dict[str, int] = {}

    def say(self, text: str, *, name: str = "demo") -> None:
        """One line. A terminal that has gone away ends nothing: the demo is then without a log."""
        prefix = f"{name:<{NAME_WIDTH}} |"
        if self.coloured:
            colour = 1 if name == "demo" else self._colour(name)
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        if self._stream is None:
            return
        try:
            self._stream.write(f"{prefix} {text}\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._stream = None

    async def follow(self, reader: asyncio.StreamReader, *, name: str) -> None:
        """Show what a process writes until it closes its end. Lines may be of any length."""
        rest = b""
        while chunk := await reader.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self.say(line.decode(errors="replace").rstrip("\r"), name=name)
        if rest:
            self.say(rest.decode(errors="replace"), name=name)

    def _colour(self, name: str) -> int:
        return self._known.setdefault(name, _COLOURS[len(self._known) % len(_COLOURS)])
