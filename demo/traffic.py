"""Plausible traffic: customers of two merchants who buy, change their minds, and sometimes do not pay."""

import asyncio
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import httpx

PAYMENTS_PER_SECOND = 2.0
# What customers do, of a hundred. Most pay, and that is all.
WAYS = {
    "pay": 68,
    "forget": 6,
    "reject": 7,
    "refund": 5,
    "cancel": 5,
    "move": 5,
    "wrap": 4,
}
LONGEST_THOUGHT = 8.0
REPORT_EVERY = 100

CUSTOMERS = [f"customer-{number:02}" for number in range(1, 25)]
# Most pay in euro; the yen has no decimals, the dinar three.
CURRENCIES = {"EUR": 60, "USD": 20, "GBP": 10, "JPY": 7, "BHD": 3}
DECIMALS = {"JPY": 0, "BHD": 3}
# What one thing costs in euro, and what a euro is worth elsewhere: near enough for play.
PRICES = {
    "coffee": "3.20",
    "sandwich": "6.90",
    "book": "18.00",
    "shoes": "89.00",
    "lamp": "42.50",
    "bike": "749.00",
}
RATES = {"EUR": "1", "USD": "1.1", "GBP": "0.85", "JPY": "160", "BHD": "0.4"}
WISHES = [30, 25, 18, 8, 10, 1]


def purchase(chance: random.Random) -> dict[str, Any]:
    """The body of a payment request: one to three lines that add up to the amount."""
    currency = chance.choices(list(CURRENCIES), list(CURRENCIES.values()))[0]
    unit = Decimal(1).scaleb(-DECIMALS.get(currency, 2))
    lines: list[dict[str, Any]] = []
    for sku in dict.fromkeys(chance.choices(list(PRICES), WISHES, k=chance.randint(1, 3))):
        price = (Decimal(PRICES[sku]) * Decimal(RATES[currency])).quantize(unit)
        lines.append({"sku": sku, "quantity": chance.choice([1, 1, 1, 2, 3]), "unit_price": str(price)})
    amount = sum(line["quantity"] * Decimal(line["unit_price"]) for line in lines)
    return {
        "customer_id": chance.choice(CUSTOMERS),
        "amount": str(amount),
        "currency": currency,
        "lines": lines,
    }


def after(chance: random.Random) -> str:
    """What a customer does next, as often as in `WAYS`."""
    return chance.choices(list(WAYS), list(WAYS.values()))[0]


def other_lines(order: dict[str, Any]) -> list[dict[str, Any]]:
    """The order's lines to the same total: each thing wrapped as a gift of its own."""
    return [
        {"sku": f"{line['sku']}, wrapped", "quantity": 1, "unit_price": line["unit_price"]}
        for line in order["lines"]
        for _ in range(line["quantity"])
    ]


class Shopper:
    """One customer of one merchant: buys, and now and then has second thoughts."""

    def __init__(self, client: httpx.AsyncClient, token: str, chance: random.Random) -> None:
        self._client = client
        self._headers = {"Authorization": f"Token {token}"}
        self._chance = chance

    async def shop(self) -> None:
        """Request a payment, and go on from there. Raises httpx.HTTPError."""
        payment = await self._send("POST", "/api/payments/", purchase(self._chance))
        way = after(self._chance)
        if way == "forget":  # it expires
            return
        await self._think()
        address = f"/api/payments/{payment['id']}"
        if way == "reject":
            await self._send("POST", f"{address}/reject/", {"reason": "The card was declined."})
            return
        await self._send("POST", f"{address}/validate/", {})
        if way == "refund":
            await self._think()
            await self._send("POST", f"{address}/refund/", {"reason": "It arrived broken."})
        elif way != "pay":
            await self._change_order(payment["id"], way)

    async def _change_order(self, payment_id: str, way: str) -> None:
        """Of an order that is not there yet, or is cancelled already, nothing is asked."""
        await self._think()
        found = await self._client.get("/api/orders/", params={"payment": payment_id}, headers=self._headers)
        found.raise_for_status()
        for order in found.json()["results"]:
            address = f"/api/orders/{order['id']}/"
            if way == "move":
                change = {"shipping_address": f"{self._chance.randint(1, 99)} High Street\nSpringfield"}
                await self._send("PATCH", address, change)
            elif way == "wrap":
                await self._send("PATCH", address, {"lines": other_lines(order)})
            else:
                await self._send("POST", f"{address}cancel/", {"reason": "Found it cheaper elsewhere."})

    async def _think(self) -> None:
        await asyncio.sleep(self._chance.triangular(0, LONGEST_THOUGHT, 0.5))

    async def _send(self, method: str, address: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.request(method, address, json=body, headers=self._headers)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


async def play(*, url: str, tokens: Sequence[str], say: Callable[[str], None]) -> None:
    """Send shoppers for ever, through REST.

    What fails is said and not repeated: a customer who meets an error goes away.
    """
    chance = random.Random()  # noqa: S311  (nothing secret about it)
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client,
        asyncio.TaskGroup() as shoppers,
    ):
        say(f"about {PAYMENTS_PER_SECOND:g} payments a second from {len(CUSTOMERS)} customers")
        for number in count(1):
            shoppers.create_task(_visit(Shopper(client, chance.choice(tokens), chance), say))
            if number % REPORT_EVERY == 0:
                say(f"{number} payments requested")
            await asyncio.sleep(chance.expovariate(PAYMENTS_PER_SECOND))


async def _visit(shopper: Shopper, say: Callable[[str], None]) -> None:
    try:
        await shopper.shop()
    except httpx.HTTPError as error:
        say(f"a customer met {type(error).__name__}: {error}")
