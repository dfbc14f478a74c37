"""A way to PostgreSQL that breaks where a test wants it to: at any statement, before it or after it.

It passes on what both sides say, message by message, and so sees whatever is sent, by whichever cursor.
Protocol: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import NamedTuple

import psycopg
import pytest
from django.db.backends.postgresql.base import DatabaseWrapper

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


class Cut(Enum):
    """When the connection is lost: the server's process is terminated, or the network is gone.

    BEFORE   the statement: the server never hears it
    AFTER    it: the server has done it, and nobody hears the answer
    DURING   it: the client hears of nothing while the server still works at it
    """

    BEFORE = "before"
    AFTER = "after"
    DURING = "during"


class Statement(NamedTuple):
    """One exchange with the server.

    session  the application_name
    text     without its values
    alone    whether it is a transaction of its own
    """

    session: str
    text: str
    alone: bool


class DatabaseLink:
    """Listens on a port of its own and leads to the server. `cut` is asked at each statement.

    Leaving the block ends all of its connections and threads.
    """

    def __init__(self, url: str, *, cut: Callable[[Statement], Cut | None] = lambda _: None) -> None:
        self._cut = cut
        # Statements that were executed, also those prepared before, of which `cut` is not asked again.
        self.executed = 0
        self._urls = {"": url}
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ways: list[_Way] = []
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "DatabaseLink":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        self.break_all()

    def lead_to(self, url: str, *, session: str = "") -> None:
        """Break all connections. Those of sessions whose names begin so lead to this server from now on."""
        self._urls[session] = url
        self.break_all()

    def _url_of(self, session: str) -> str:
        return self._urls[max((name for name in self._urls if session.startswith(name)), key=len)]

    def break_all(self) -> None:
        with self._lock:
            ways, self._ways = self._ways, []
        for way in ways:
            way.end()

    def _note(self) -> None:
        with self._lock:
            self.executed += 1

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                way = _Way(client, self._url_of, self._cut, self._note)
                with self._lock:
                    self._ways.append(way)
                way.start()


class _Way:
    """One connection: a thread for each direction."""

    def __init__(
        self,
        client: socket.socket,
        url_of: Callable[[str], str],
        cut: Callable[[Statement], Cut | None],
        note: Callable[[], None],
    ) -> None:
        self._note = note
        self._url_of, self._cut = url_of, cut
        self._url = ""
        self._client = client
        self._server: socket.socket | None = None
        self._session, self._pid = "", 0
        self._idle = True
        # What the client is not to hear; set while the server does the last statement of this connection.
        self._last: Cut | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._in_thread(self._there)

    def _in_thread(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def end(self) -> None:
        self._close()
        for thread in list(self._threads):
            thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            with suppress(OSError, EOFError):
                work()
        finally:
            self._close()

    def _close(self) -> None:
        for one in (self._client, self._server):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _there(self) -> None:
        """What the client says."""
        startup = self._startup()
        self._url = self._url_of(self._session)
        where = psycopg.conninfo.conninfo_to_dict(self._url)
        self._server = socket.create_connection((str(where["host"]), int(str(where["port"]))))
        for one in (self._client, self._server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # messages go one by one
        self._server.sendall(startup)
        back = self._in_thread(self._back)
        while True:
            kind, body = _message(self._client)
            if kind in {b"Q", b"E"}:
                self._note()
            if kind in _STATEMENTS and self._last is None:
                self._last = self._cut(Statement(self._session, _STATEMENTS[kind](body), self._idle))
                if self._last is Cut.BEFORE:
                    self._terminate()
                    back.join()  # it may hear what the server says to that
                    return
                if self._last is Cut.DURING:
                    self._client.shutdown(socket.SHUT_WR)
            self._server.sendall(_packed(kind, body))
            if self._last is Cut.AFTER and kind == b"d":
                self._terminate()
                return

    def _back(self) -> None:
        """What the server says."""
        assert self._server is not None
        while True:
            kind, body = _message(self._server)
            if kind == b"K":
                [self._pid] = struct.unpack(">i", body[:4])
            if kind == b"Z":
                self._idle = body == b"I"
            if self._last in {Cut.AFTER, Cut.DURING}:
                if kind in {b"Z", b"G"}:  # it is done, or waits for the data of COPY
                    self._terminate()
                    return
                continue
            self._client.sendall(_packed(kind, body))

    def _startup(self) -> bytes:
        while True:
            [length] = struct.unpack(">i", _exactly(self._client, 4))
            body = _exactly(self._client, length - 4)
            if struct.unpack(">i", body[:4])[0] not in {_SSL_REQUEST, _GSS_REQUEST}:
                break
            self._client.sendall(b"N")
        words = body[4:].split(b"\0")
        self._session = (
            dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
        )
        return struct.pack(">i", length) + body

    def _terminate(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [self._pid])


def _message(peer: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack(">ci", _exactly(peer, 5))
    return kind, _exactly(peer, length - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">ci", kind, len(body) + 4) + body


def _exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _without_values(statement: bytes) -> str:
    text = re.sub(r"'[^']*'|\b[0-9]+\b", "?", " ".join(statement.decode().split()))
    return re.sub(r"\?(, ?\(?\?\)?)+", "?", text)


# The messages with which a client has the server do something, and what to call them.
_STATEMENTS: dict[bytes, Callable[[bytes], str]] = {
    b"Q": lambda body: _without_values(body.rstrip(b"\0")),
    b"P": lambda body: _without_values(body.split(b"\0")[1]),
    b"d": lambda _: "data of COPY",
    b"c": lambda _: "end of COPY",
}


@contextmanager
def relays_connect_through(link: DatabaseLink, *, threads: str = "outbox-relay") -> Iterator[None]:
    """Threads of relays, or others by the beginning of their names, reach the database through the link."""
    plain = DatabaseWrapper.get_connection_params

    def through(self: DatabaseWrapper) -> dict[str, object]:
        parameters: dict[str, object] = plain(self)
        name = threading.current_thread().name
        if name.startswith(threads):
            parameters |= {"host": "127.0.0.1", "port": link.port, "application_name": name}
        return parameters

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseWrapper, "get_connection_params", through)
        yield
