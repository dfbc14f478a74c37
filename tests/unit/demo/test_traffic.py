"""Played payments are ones that the site accepts."""

import random
from decimal import Decimal

import pytest

from contracts.money import Money
from demo.traffic import CURRENCIES, WAYS, after, other_lines, purchase


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


@pytest.mark.parametrize("seed", range(50))
def test_other_lines_cost_the_same(seed: int) -> None:
    body = purchase(random.Random(seed))
    lines = other_lines(body)
    assert lines != body["lines"]
    assert sum(line["quantity"] * Decimal(line["unit_price"]) for line in lines) == Decimal(body["amount"])


def test_customers_go_every_way() -> None:
    chance = random.Random(0)
    assert {after(chance) for _ in range(1_000)} == set(WAYS)
    assert sum(WAYS.values()) == 100
