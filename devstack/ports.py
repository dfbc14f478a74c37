"""Ports of the loopback address: found, and kept between runs when they are still free."""

import random
import socket
from collections.abc import Container

from devstack.errors import NoFreePort

HOST = "127.0.0.1"
# Below the ports that outgoing connections are given (Linux 32768 up, macOS 49152 up): a client that keeps
# trying to reach a stopped server could be given the server's own port, and would be connected to itself.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a server that has just ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def find_port(*, preferred: int | None = None, avoid: Container[int] = ()) -> int:
    """The preferred port when it is free, else a random free one that is not in `avoid`.

    Random, so that stacks started together seldom choose the same; who listens second chooses again.
    """
    if preferred and preferred not in avoid and is_free(preferred):
        return preferred
    for _ in range(ATTEMPTS):
        port = random.choice(RANGE)  # noqa: S311 - nothing secret about it
        if port not in avoid and is_free(port):
            return port
    raise NoFreePort


def accepts(port: int) -> bool:
    """Whether something answers a TCP connection there."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False
