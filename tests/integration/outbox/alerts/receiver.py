"""A receiver of webhooks: a real server, that answers as it is told."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def notice(self) -> dict[str, Any]:
        return json.loads(self.raw)  # type: ignore[no-any-return]


Answer = Callable[[BaseHTTPRequestHandler], None]


def answers(status: int, **headers: str) -> Answer:
    """An answer at once."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def slowly(handler: BaseHTTPRequestHandler) -> None:
    """Long enough for others to come meanwhile."""
    time.sleep(0.3)
    answers(200)(handler)


def never(handler: BaseHTTPRequestHandler) -> None:
    """Take the request, and say nothing until the other side has gone."""
    handler.rfile.read(1)


def trickles(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no read of the other side ever waits for long."""
    try:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"z" * 10_000:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass


class Receiver:
    """Listens inside its block. `answer` may be changed at any time; `received` is what came, in order."""

    def __init__(self) -> None:
        self.answer: Answer = answers(200)
        self.received: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(Received(self.path, dict(self.headers), raw))
                receiver.answer(self)
                self.close_connection = True

            do_GET = do_POST  # noqa: N815  (the server's name for it)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def ids(self) -> list[str]:
        """The ids of what came, in order."""
        return [one.notice["id"] for one in self.received]
