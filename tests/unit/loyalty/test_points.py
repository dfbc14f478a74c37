"""The rule of the points."""

import pytest

from contracts.money import Money
from loyalty.points import points_for


@pytest.mark.parametrize(
    ("text", "currency", "points_per_unit", "points"),
    [
        ("12.99", "EUR", 1, 12),
        ("0.99", "EUR", 1, 0),
        ("0.99", "EUR", 10, 9),
        ("1250", "JPY", 1, 1250),
        ("1.999", "BHD", 1, 1),
        ("10000000000000.00", "EUR", 1, 10**13),
        ("12.50", "EUR", 0, 0),
    ],
)
def test_whole_units_earn_rounded_down(text: str, currency: str, points_per_unit: int, points: int) -> None:
    assert points_for(Money.parse(text, currency), points_per_unit=points_per_unit) == points
