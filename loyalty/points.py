"""The rule by which payments earn points."""

from contracts.money import Money, decimals_of


def points_for(money: Money, *, points_per_unit: int) -> int:
    """Points for each whole unit of the currency (euro, yen, dinar), rounded down to whole points."""
    unit: int = 10 ** decimals_of(money.currency)
    return money.amount_minor * points_per_unit // unit
