"""Many connections to one site, cheaply: what loads the site must not compete with it for the processor."""

import asyncio
import ssl
from types import TracebackType
from typing import Any, Self

import httpx

CONNECTIONS = 64
TIMEOUT = 30.0


class Clients:
    """A pool of clients with one connection each, the latest used first.

    httpx's own pool looks at each of its connections for every request: with 64 of them a request cost four
    times as much. Proxies that the environment names are not used.
    """

    def __init__(self, *, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        trusted = ssl.create_default_context()
        self._all = [
            httpx.AsyncClient(
                base_url=url,
                headers={"Authorization": f"Token {token}"},
                timeout=TIMEOUT,
                transport=transport
                or httpx.AsyncHTTPTransport(verify=trusted, limits=httpx.Limits(max_connections=1)),
            )
            for _ in range(CONNECTIONS)
        ]
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._all:
            self._free.put_nowait(client)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The answer, whatever its status; waits for a free connection. Raises httpx.TransportError."""
        client = await self._free.get()
        try:
            return await client.request(method, path, **options)
        finally:
            self._free.put_nowait(client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._all:
            await client.aclose()
