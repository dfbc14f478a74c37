"""Where the events of a load have got to: asked of the site after the load, so as not to disturb it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import httpx

from demo.clients import Clients
from demo.load import Shot

CONCURRENCY = 8
POLL_SECONDS = 0.25
PENDING, PROCESSED, UNHANDLED = "pending", "processed", "unhandled"


async def trace(
    clients: Clients, shots: Iterable[Shot], *, deadline: float, progress: Callable[[], None]
) -> None:
    """Note for each shot with an event how long it took until every subscribed consumer had processed it.

    Those that are not processed `deadline` seconds from now keep None. `progress` is told of each that is.
    The consumers' times are the database's: over a network its clock and ours must agree.
    """
    until = time.monotonic() + deadline
    turns = asyncio.Semaphore(CONCURRENCY)

    async def follow(shot: Shot) -> None:
        while True:
            async with turns:
                consumers = await _consumers(clients, shot)
            if consumers is not None and not any(one["status"] == PENDING for one in consumers):
                shot.processed = _until_last(consumers, shot)
                progress()
                return
            if time.monotonic() > until:
                return
            await asyncio.sleep(POLL_SECONDS)

    await asyncio.gather(*(follow(shot) for shot in shots if shot.event_id))


async def _consumers(clients: Clients, shot: Shot) -> list[dict[str, Any]] | None:
    """What each subscribed consumer made of the event; None when the site does not say."""
    try:
        answer = await clients.request("GET", f"/api/events/{shot.event_id}/")
    except httpx.TransportError:
        return None
    if not answer.is_success:
        return None
    consumers: list[dict[str, Any]] = answer.json()["consumers"]
    return consumers


def _until_last(consumers: list[dict[str, Any]], shot: Shot) -> float | None:
    """From the scheduled time to the last effect; None when a consumer parked the event or gave it up."""
    if any(one["status"] not in {PROCESSED, UNHANDLED} for one in consumers):
        return None
    times = [datetime.fromisoformat(one["processed_at"]) for one in consumers if one["status"] == PROCESSED]
    return max(times).timestamp() - shot.scheduled_at if times else None
