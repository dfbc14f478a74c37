"""Played customers do what the site accepts, whichever way they go."""

import asyncio
import random
from pathlib import Path

import httpx
import pytest
from django.db import connection

from accounts.services import ensure_token, ensure_user
from demo.traffic import WAYS, Shopper
from devstack.stack import Stack
from outbox.models import OutboxEvent
from tests.integration.compensation.world import World
from tests.webserver import WebServer

# What each way must have told at its end, beside the request.
TOLD = {
    "pay": ["PaymentValidated", "OrderCreated"],
    "forget": [],
    "reject": ["PaymentRejected"],
    "refund": ["PaymentValidated", "OrderCreated", "PaymentRefunded", "OrderCancelled"],
    "cancel": ["PaymentValidated", "OrderCreated", "OrderCancelled"],
    "move": ["PaymentValidated", "OrderCreated", "OrderModified"],
    "wrap": ["PaymentValidated", "OrderCreated", "OrderModified"],
}


@pytest.mark.django_db(transaction=True)
def test_every_way_is_accepted_to_its_end(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = ensure_user(username="first", password=None, groups=["merchant"])
    token, world = ensure_token(user=merchant), World(merchant_id=merchant.id)

    def deliver() -> None:
        world.deliver("orders")
        connection.close()

    async def think(_: Shopper) -> None:
        """While customers think, their orders come to be."""
        await asyncio.to_thread(deliver)

    monkeypatch.setattr(Shopper, "_think", think)

    async def go(way: str, url: str) -> None:
        monkeypatch.setattr("demo.traffic.after", lambda _: way)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            await Shopper(client, token, random.Random(way)).shop()
        await think(Shopper(client, token, random.Random()))

    assert set(TOLD) == set(WAYS)
    with WebServer(stack, tmp_path) as site:
        for way, told in TOLD.items():
            before = OutboxEvent.objects.count()
            asyncio.run(go(way, site.url))
            types = OutboxEvent.objects.order_by("position").values_list("type", flat=True)[before:]
            assert sorted(one.split(".")[1] for one in types) == sorted(["PaymentRequested", *told]), way
