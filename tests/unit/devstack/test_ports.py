import socket
from pathlib import Path

from devstack.ports import HOST, RANGE, find_port, is_free


def listen(port: int = 0) -> socket.socket:
    server = socket.create_server((HOST, port))
    server.listen()
    return server


def test_kept_port_is_used_again_while_it_is_free() -> None:
    port = find_port()

    assert find_port(preferred=port) == port


def test_kept_port_that_is_taken_is_given_up() -> None:
    with listen(find_port()) as server:
        taken = server.getsockname()[1]

        assert not is_free(taken)
        assert find_port(preferred=taken) != taken


def test_port_to_avoid_is_avoided() -> None:
    port = find_port()

    assert find_port(preferred=port, avoid=[port]) != port


def test_ports_are_never_those_of_outgoing_connections() -> None:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(ephemeral.read_text().split()[0]) if ephemeral.exists() else 32_768

    assert max(RANGE) < lowest
    assert find_port() in RANGE
