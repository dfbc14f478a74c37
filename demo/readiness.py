"""Waiting until the demo is worth a visit."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import httpx

from demo.errors import NotReady
from outbox.config import config
from outbox.kafka import BrokerError, Cluster
from outbox.registry import Consumer

POLL_SECONDS = 0.1
TIMEOUT = 90.0


async def until_ready(
    *, url: str, kafka: str, consumers: Sequence[Consumer], processes: Callable[[], Mapping[str, int]]
) -> None:
    """Return when the site serves requests and every consumer's own process has all its partitions.

    Raises NotReady after TIMEOUT seconds.
    """
    cluster = Cluster({**config().kafka, "bootstrap.servers": kafka}, timeout=5.0)
    try:
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(
                _until_web(url), *(_until_consumes(cluster, consumer, processes) for consumer in consumers)
            )
    except TimeoutError as error:
        raise NotReady from error


async def _until_web(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        while True:
            try:
                answer = await client.get("/readyz")
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == httpx.codes.OK and answer.json()["status"] == "ready":
                    return
            await asyncio.sleep(POLL_SECONDS)


async def _until_consumes(
    cluster: Cluster, consumer: Consumer, processes: Callable[[], Mapping[str, int]]
) -> None:
    """The group may still list a member that was killed: the member of this very process counts."""
    while True:
        pid = processes().get(f"{consumer.name}-1")
        try:
            wanted = await asyncio.to_thread(cluster.partition_counts)
            members = await asyncio.to_thread(cluster.members, consumer.name)
        except BrokerError:
            members = {}
        else:
            held = {
                place for client, places in members.items() if client.endswith(f":{pid}") for place in places
            }
            if held == {(topic, part) for topic in consumer.topics for part in range(wanted[topic])}:
                return
        await asyncio.sleep(POLL_SECONDS)
