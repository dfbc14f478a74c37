"""Posts a notice to an address, signed as Standard Webhooks has it (https://www.standardwebhooks.com).

Redirects are not followed, and no answer is waited for longer than LIMIT, however it trickles.
"""

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Timer
from typing import Any
from urllib.parse import SplitResult, unquote

from outbox.alerts.options import Alerts
from outbox.errors import NotDelivered

LIMIT = 10.0


def signature(key: bytes, *, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002
    """The value of `webhook-signature`: of the id, the time and the body, by HMAC with SHA-256."""
    signed = b".".join([id.encode(), str(timestamp).encode(), body])
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class Webhook:
    """The receiver that the settings name. Nothing that is said of it holds more than its host."""

    name = "webhook"

    def __init__(self, options: Alerts) -> None:
        self._options = options
        self.shown = f"the webhook at {options.webhook_host}"

    def send(self, notice: Mapping[str, Any]) -> None:
        """Return once it has answered 2xx. Raises NotDelivered, AlertsMisconfigured."""
        target, key = self._options.target, self._options.key
        body = json.dumps(notice, ensure_ascii=False, separators=(",", ":")).encode()
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "outbox-alerts/1",
            "webhook-id": notice["id"],
            "webhook-timestamp": str(now),
            "webhook-signature": signature(key, id=notice["id"], timestamp=now, body=body),
            **_authorization(target),
        }
        status = _post(target, body, headers)
        if 300 <= status < 400:
            raise NotDelivered(f"It answered {status}: redirects are not followed.")
        if not 200 <= status < 300:
            raise NotDelivered(f"It answered {status}.")


def _authorization(target: SplitResult) -> dict[str, str]:
    """What an address with a name and a password asks for."""
    if target.username is None:
        return {}
    told = f"{unquote(target.username)}:{unquote(target.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(told.encode()).decode()}"}


def _post(target: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer. What is said of an error names neither the path nor the credentials."""
    kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
    connection = kind(str(target.hostname), target.port, timeout=LIMIT)
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    deadline = time.monotonic() + LIMIT
    try:
        connection.connect()
        # A socket's own timeout begins anew with each byte.
        cut = Timer(max(deadline - time.monotonic(), 0.0), _cut, [connection.sock])
        cut.start()
        try:
            connection.request("POST", path, body, dict(headers))
            status = connection.getresponse().status
        finally:
            cut.cancel()
        if time.monotonic() >= deadline:
            raise TimeoutError  # an answer that was cut off may look like a short one
        return status
    except OSError as error:
        late = isinstance(error, TimeoutError) or time.monotonic() >= deadline
        raise NotDelivered(_no_answer() if late else f"It cannot be reached: {_why(error)}.") from None
    except HTTPException as error:
        late = time.monotonic() >= deadline
        raise NotDelivered(
            _no_answer() if late else f"It does not speak HTTP ({type(error).__name__})."
        ) from None
    finally:
        connection.close()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _no_answer() -> str:
    return f"No answer within {LIMIT:g} s."


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).rstrip(".").lower()
