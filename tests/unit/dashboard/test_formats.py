"""How figures read."""

from datetime import timedelta
from uuid import UUID

import pytest

from dashboard import formats
from dashboard.formats import Bounded


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.2, "0 ms"),
        (0, "0 ms"),
        (0.0084, "8 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (9.96, "10 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_a_delay_is_told_in_the_unit_that_fits_it(seconds: float, text: str) -> None:
    assert str(formats.delay(timedelta(seconds=seconds))) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (0, "0 /s"),
        (0.01, "<0.1 /s"),
        (0.2, "0.2 /s"),
        (9.94, "9.9 /s"),
        (9.96, "10 /s"),
        (1234.5, "1,234 /s"),
    ],
)
def test_a_trickle_is_not_nothing(per_second: float, text: str) -> None:
    assert str(formats.rate(per_second)) == text


def test_unknown_is_not_zero() -> None:
    for text in (formats.rate(None), formats.count(None), formats.delay(None)):
        assert not text.known
        assert text.value != "0"
    assert formats.count(0).known


def test_a_bounded_count_says_that_there_is_more() -> None:
    assert str(Bounded.upto(10_000, 10_001)) == "10,000+"
    assert str(Bounded.upto(10_000, 10_000)) == "10,000"
    assert not Bounded.upto(10_000, 0)


def test_ids_are_shortened_in_the_middle() -> None:
    assert formats.short_id(UUID("01a20d12-74c2-7214-8c64-03c77c9cbb49")) == "01a2…9cbb49"
    assert formats.short_id("slot-1") == "slot-1"
