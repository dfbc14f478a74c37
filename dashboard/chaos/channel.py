"""The demo's control channel: how its parent process is asked to stop, start, freeze and kill its parts.

A Unix socket that its owner alone may open, named by settings.DEMO_CONTROL in the demo's web process. There
is one request and one answer for each connection, a line each: a verb with the name of a part (`list` has
none), then JSON: {"parts": [...]} as they are now, or {"error": "..."} in words.
"""

import json
import socket
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings

TIMEOUT = 3.0
LONGEST_ANSWER = 65_536


class Verb(StrEnum):
    """What may be asked. All but `list` name a part."""

    LIST = "list"
    STOP = "stop"
    START = "start"
    FREEZE = "freeze"
    THAW = "thaw"
    KILL = "kill"


class PartState(StrEnum):
    """What a part is doing."""

    RUNNING = "running"
    FROZEN = "frozen"
    STARTING = "starting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class DemoPart:
    """A process of the demo. `spared` says why it cannot be steered; empty where it can."""

    name: str
    state: PartState
    pid: int | None
    spared: str = ""


class ChannelError(Exception):
    """The base of what can go wrong with the control channel."""


class Away(ChannelError):
    """The demo's parent process is not there: it was asked for nothing."""


class NoAnswer(ChannelError):
    """The demo's parent process was asked and does not answer: it has ended meanwhile, or hangs."""


class Refused(ChannelError):
    """The demo's parent process did not do what it was asked for; the message says why."""


def in_demo() -> bool:
    """Whether this process belongs to a demo."""
    return bool(settings.DEMO_CONTROL)


def ask(verb: Verb, name: str = "") -> list[DemoPart]:
    """Ask for something, and return how all parts are now. Raises Away, NoAnswer and Refused."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            _connect(connection)
            connection.sendall(f"{verb} {name}\n".encode())
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline(LONGEST_ANSWER))
    except (OSError, ValueError) as error:
        raise NoAnswer(f"The demo's parent process does not answer: {error}.") from error
    if "error" in answer:
        raise Refused(answer["error"])
    return [
        DemoPart(part["name"], PartState(part["state"]), part["pid"], part["spared"])
        for part in answer["parts"]
    ]


def _connect(connection: socket.socket) -> None:
    try:
        connection.connect(settings.DEMO_CONTROL)
    except OSError as error:
        raise Away(f"The demo's parent process does not answer: {error}.") from error
