"""Request bodies on a real server: too large ones are refused while they come, chunked ones are read."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.services import ensure_token, ensure_user
from devstack.ports import HOST
from devstack.stack import Stack
from eventsite.bodies import LARGEST_FORM
from payments.models import Payment
from rest.parsers import LARGEST_BODY
from tests.webserver import WebServer

pytestmark = pytest.mark.django_db(transaction=True)
PAYMENT = {"customer_id": "c-1", "amount": "1.00", "currency": "EUR"}


@pytest.fixture
def server(stack: Stack, tmp_path: Path) -> Iterator[WebServer]:
    with WebServer(stack, tmp_path) as server:
        yield server


@pytest.fixture
def token(db: None) -> str:
    return ensure_token(user=ensure_user(username="first", password=None, groups=["merchant"]))


class Client:
    """One connection, byte by byte."""

    def __init__(self, server: WebServer) -> None:
        self._socket = socket.create_connection((HOST, server.port), timeout=10)
        self._answer = self._socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def head(self, method: str, path: str, **headers: Any) -> None:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def chunks(self, *parts: bytes) -> None:
        for part in (*parts, b""):
            self.send(b"%x\r\n%s\r\n" % (len(part), part))

    def answer(self) -> tuple[int, str, bytes]:
        """Status, media type, body."""
        status = int(self._answer.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self._answer.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers["content-type"], self._answer.read(int(headers["content-length"]))


def chunked(server: WebServer, token: str, path: str, *parts: bytes, **headers: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Token {token}", "Content_Type": "application/json", **headers}
    with Client(server) as client:
        client.head("POST", path, Transfer_Encoding="chunked", **headers)
        client.chunks(*parts)
        status, _, body = client.answer()
    return status, json.loads(body)


def spooled(server: WebServer) -> int:
    """Bytes in files that the server has open without a name."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    return sum(file.stat().st_size for file in folder.iterdir() if "(deleted)" in str(file.readlink()))


@pytest.mark.parametrize(
    ("path", "largest", "media_type"),
    [
        ("/api/payments/", LARGEST_BODY, "application/problem+json"),
        ("/api/nowhere/", LARGEST_BODY, "application/problem+json"),
        ("/login/", LARGEST_FORM, "text/plain"),
        ("/nowhere/", LARGEST_FORM, "text/plain"),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_sent(
    server: WebServer, path: str, largest: int, media_type: str
) -> None:
    with Client(server) as client:
        client.head("POST", path, Content_Type="application/json", Content_Length=largest + 1)
        status, told, body = client.answer()
    assert (status, told) == (413, media_type)
    if path.startswith("/api/"):
        assert json.loads(body)["code"] == "body_too_large"


@pytest.mark.parametrize(("path", "largest"), [("/api/payments/", LARGEST_BODY), ("/login/", LARGEST_FORM)])
def test_a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_large(
    server: WebServer, path: str, largest: int
) -> None:
    part = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with Client(server) as client:
        client.head("POST", path, Content_Type="application/json", Transfer_Encoding="chunked")
        client.send(part * (largest // 65_536 + 1))
        assert client.answer()[0] == 413
        client.send(part * 200)
        assert spooled(server) < LARGEST_FORM


def test_a_body_as_large_as_may_be_is_read(server: WebServer, token: str) -> None:
    body = json.dumps(PAYMENT).encode()
    padding = b" " * (LARGEST_BODY - len(body))
    status, made = chunked(server, token, "/api/payments/", body, padding)
    assert (status, made["amount"]) == (201, "1.00")


def test_a_chunked_body_is_not_taken_for_none(server: WebServer, token: str) -> None:
    _, made = chunked(server, token, "/api/payments/", json.dumps(PAYMENT).encode())
    where = f"/api/payments/{made['id']}/validate/"
    assert chunked(server, token, where, b"gar", b"bage")[0] == 400
    assert chunked(server, token, where, b"hello", Content_Type="text/plain")[0] == 415
    assert Payment.objects.get().status == "pending"
    assert chunked(server, token, where)[0] == 200


def test_chunked_bodies_under_one_key_are_told_apart(server: WebServer, token: str) -> None:
    one, other = (json.dumps(PAYMENT | {"customer_id": name}).encode() for name in ("c-1", "c-2"))
    answers = [
        chunked(server, token, "/api/payments/", body[:7], body[7:], Idempotency_Key="k")
        for body in (one, one, other)
    ]
    assert [status for status, _ in answers] == [201, 201, 422]
    assert answers[0] == answers[1]
    assert Payment.objects.count() == 1
