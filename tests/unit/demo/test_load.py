"""The open loop, against a site that is played here."""

import asyncio
import json

import httpx
import pytest

from demo.clients import CONNECTIONS, Clients
from demo.errors import LoadRefused
from demo.load import Shot, check, fire
from demo.tracing import trace


def site(answer: httpx.MockTransport) -> Clients:
    return Clients(url="http://site", token="", transport=answer)


def accept(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/api/payments/":
        return httpx.Response(201, json={"id": json.loads(request.content)["customer_id"]})
    return httpx.Response(200, json={"event_id": request.url.path.split("/")[3]})


async def test_a_slow_site_does_not_slow_the_schedule() -> None:
    """All are waiting at once: a loop that waited for an answer before the next would see one at a time."""
    waiting, most = 0, 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.3)
        waiting -= 1
        return accept(request)

    async with site(httpx.MockTransport(slow)) as clients:
        shots = await fire(clients, rate=200, seconds=0.1, progress=lambda _: None)
    assert len(shots) == 20
    assert most == 20
    assert all(shot.answered is not None and shot.answered >= 0.6 for shot in shots)
    scheduled = [shot.scheduled_at for shot in shots]
    assert scheduled[-1] - scheduled[0] == pytest.approx(19 / 200, abs=1e-6)


async def test_time_in_our_own_queue_counts() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.1)
        return accept(request)

    async with site(httpx.MockTransport(slow)) as clients:
        shots = await fire(clients, rate=100_000, seconds=2 * CONNECTIONS / 100_000, progress=lambda _: None)
    delays = sorted(shot.answered for shot in shots if shot.answered is not None)
    assert len(delays) == 2 * CONNECTIONS
    # Two requests of its own, and two turns of the others: half of all find no free connection at once.
    assert delays[-1] >= 0.4


async def test_errors_are_counted_by_step_and_kind() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        customer = json.loads(request.content).get("customer_id")
        if customer == "load-0000":
            return httpx.Response(503)
        if customer == "load-0001":
            raise httpx.ReadTimeout("too slow", request=request)
        if request.url.path == "/api/payments/load-0002/validate/":
            return httpx.Response(409)
        return accept(request)

    async with site(httpx.MockTransport(broken)) as clients:
        shots = await fire(clients, rate=1000, seconds=0.004, progress=lambda _: None)
    assert [shot.error for shot in shots] == [
        "request: 503 Service Unavailable",
        "request: ReadTimeout",
        "validate: 409 Conflict",
        None,
    ]
    assert [shot.event_id for shot in shots] == [None, None, None, "load-0003"]


@pytest.mark.parametrize(("status", "said"), [(401, "does not know this token"), (404, "is not the site")])
async def test_a_wrong_site_or_token_is_refused_before_the_load(status: int, said: str) -> None:
    async with site(httpx.MockTransport(lambda _: httpx.Response(status))) as clients:
        with pytest.raises(LoadRefused, match=said):
            await check(clients)


async def test_an_event_is_followed_until_its_last_consumer() -> None:
    asked = 0

    def events(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        late = {"status": "processed", "processed_at": "2026-01-01T00:00:03Z"}
        consumers = [
            {"status": "processed", "processed_at": "2026-01-01T00:00:01.500000Z"},
            late if asked > 2 else {"status": "pending", "processed_at": None},
            {"status": "unhandled", "processed_at": None},
        ]
        return httpx.Response(200, json={"consumers": consumers})

    shot = Shot(scheduled_at=1767225600.0, event_id="a")  # 2026-01-01T00:00:00Z
    async with site(httpx.MockTransport(events)) as clients:
        await trace(clients, [shot], deadline=30, progress=lambda: None)
    assert (asked, shot.processed) == (3, 3.0)


@pytest.mark.parametrize("status", ["parked", "dead", "discarded", "pending"])
async def test_what_is_not_processed_has_no_delay(status: str) -> None:
    consumers = [
        {"status": "processed", "processed_at": "2026-01-01T00:00:01Z"},
        {"status": status, "processed_at": None},
    ]
    shot = Shot(scheduled_at=0, event_id="a")
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"consumers": consumers}))
    async with site(answer) as clients:
        await trace(clients, [shot], deadline=0, progress=lambda: None)
    assert shot.processed is None
