"""Plausible traffic: a few customers of two merchants who buy, and sometimes do not pay."""

import asyncio
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from typing import Any

import httpx

PAYMENTS_PER_SECOND = 2.0
PAID = 0.85
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


async def play(*, url: str, tokens: Sequence[str], say: Callable[[str], None]) -> None:
    """Request payments for ever, and validate most of them after a while, through REST.

    What fails is said and not repeated: a customer who meets an error goes away.
    """
    chance = random.Random()  # noqa: S311  (nothing secret about it)
    async with (
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client,
        asyncio.TaskGroup() as shoppers,
    ):
        say(f"about {PAYMENTS_PER_SECOND:g} payments a second from {len(CUSTOMERS)} customers")
        for number in count(1):
            shoppers.create_task(_shop(client, chance.choice(tokens), chance, say))
            if number % REPORT_EVERY == 0:
                say(f"{number} payments requested")
            await asyncio.sleep(chance.expovariate(PAYMENTS_PER_SECOND))


async def _shop(
    client: httpx.AsyncClient, token: str, chance: random.Random, say: Callable[[str], None]
) -> None:
    headers = {"Authorization": f"Token {token}"}
    try:
        answer = await client.post("/api/payments/", json=purchase(chance), headers=headers)
        answer.raise_for_status()
        if chance.random() < PAID:
            await asyncio.sleep(chance.triangular(0, LONGEST_THOUGHT, 0.5))
            address = f"/api/payments/{answer.json()['id']}/validate/"
            (await client.post(address, json={}, headers=headers)).raise_for_status()
    except httpx.HTTPError as error:
        say(f"a customer met {type(error).__name__}: {error}")
