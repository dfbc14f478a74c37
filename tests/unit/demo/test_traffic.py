"""Played payments are ones that the site accepts."""

import random
from decimal import Decimal

import pytest

from contracts.money import Money
from demo.traffic import CURRENCIES, purchase


@pytest.mark.parametrize("seed", range(200))
def test_a_purchase_is_exact_in_its_currency(seed: int) -> None:
    body = purchase(random.Random(seed))
    amount = Money.parse(body["amount"], body["currency"])
    assert amount.amount_minor > 0
    lines = [
        line["quantity"] * Money.parse(line["unit_price"], body["currency"]).amount_minor
        for line in body["lines"]
    ]
    assert sum(lines) == amount.amount_minor


def test_every_currency_is_met() -> None:
    chance = random.Random(0)
    met = {purchase(chance)["currency"] for _ in range(500)}
    assert met == set(CURRENCIES)
    assert Decimal(purchase(chance)["amount"]) > 0
