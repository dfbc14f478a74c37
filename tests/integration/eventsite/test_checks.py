"""Settings with which nothing could be served are told at the start, not to every caller."""

import pytest
from django.core.checks import run_checks
from pytest_django import Settings


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("API_RATE_PER_SECOND", 0.0, "rest.E001"),
        ("API_RATE_PER_SECOND", -1.0, "rest.E001"),
        ("API_RATE_PER_SECOND", float("nan"), "rest.E001"),
        ("API_RATE_PER_SECOND", float("inf"), "rest.E001"),
        ("API_BURST", 0, "rest.E002"),
        ("LOYALTY_POINTS_PER_UNIT", -1, "loyalty.E001"),
        ("PAYMENTS_EXPIRE_AFTER", 0, "payments.E001"),
    ],
)
def test_a_setting_that_is_none_is_an_error(
    settings: Settings, name: str, value: float, expected: str
) -> None:
    assert run_checks() == []
    setattr(settings, name, value)
    assert [error.id for error in run_checks()] == [expected]
