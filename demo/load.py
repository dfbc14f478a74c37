"""An open loop: payments are sent at their scheduled times, however slowly they are answered.

A closed loop, which sends the next when the last was answered, slows down together with the server and so
hides the very delays it should show (coordinated omission). Here every delay counts from the scheduled time.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from demo.clients import Clients
from demo.errors import LoadRefused

# A start this late says that the generator itself, not the site, was the bottleneck.
LATE_SECONDS = 0.05
CUSTOMERS = 1_000


@dataclass(kw_only=True)
class Shot:
    """One payment, requested and validated. Times are seconds; `scheduled_at` is of the Unix epoch.

    answered   from the scheduled time to the answer to the validation; None when there was an error
    error      what went wrong: an HTTP status or an exception's name, and in which step
    processed  from the scheduled time until the last subscribed consumer had processed PaymentValidated
    """

    scheduled_at: float
    late: float = 0.0
    answered: float | None = None
    event_id: str | None = None
    error: str | None = None
    processed: float | None = None


async def check(clients: Clients) -> None:
    """Raise LoadRefused unless the site answers and knows the token."""
    try:
        answer = await clients.request("GET", "/api/payments/", params={"page_size": 1})
    except httpx.TransportError as error:
        raise LoadRefused(f"{clients.url} does not answer: {error}") from error
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise LoadRefused(f"{clients.url} does not know this token.")
    if answer.status_code != HTTPStatus.OK:
        raise LoadRefused(f"{clients.url} is not the site: /api/payments/ answered {answer.status_code}.")


async def fire(
    clients: Clients, *, rate: float, seconds: float, progress: Callable[[int], None]
) -> list[Shot]:
    """Send `rate` payments a second for so many seconds; return all of them once they are answered.

    `progress` is told how many have been answered so far.
    """
    # Read together: delays are taken from the clock that never jumps, times of day from the other.
    start, epoch = time.perf_counter(), time.time()
    answered = 0

    async def send(number: int, scheduled: float) -> Shot:
        nonlocal answered
        shot = Shot(scheduled_at=epoch + scheduled - start, late=time.perf_counter() - scheduled)
        await _pay(clients, shot, customer=number % CUSTOMERS)
        if shot.error is None:
            shot.answered = time.perf_counter() - scheduled
        answered += 1
        progress(answered)
        return shot

    sending = []
    for number in range(round(rate * seconds)):
        scheduled = start + number / rate
        await asyncio.sleep(scheduled - time.perf_counter())
        sending.append(asyncio.create_task(send(number, scheduled)))
    return await asyncio.gather(*sending)


async def _pay(clients: Clients, shot: Shot, *, customer: int) -> None:
    body = {"customer_id": f"load-{customer:04}", "amount": "12.50", "currency": "EUR"}
    payment = await _post(clients, shot, "request", "/api/payments/", body)
    if payment is not None:
        validated = await _post(clients, shot, "validate", f"/api/payments/{payment['id']}/validate/", {})
        if validated is not None:
            shot.event_id = validated["event_id"]


async def _post(
    clients: Clients, shot: Shot, step: str, path: str, body: dict[str, Any]
) -> dict[str, Any] | None:
    """The answer's body, or None, with the error noted: it is counted, not repeated."""
    try:
        answer = await clients.request("POST", path, json=body)
    except httpx.TransportError as error:
        shot.error = f"{step}: {type(error).__name__}"
        return None
    if not answer.is_success:
        shot.error = f"{step}: {answer.status_code} {answer.reason_phrase}"
        return None
    content: dict[str, Any] = answer.json()
    return content
