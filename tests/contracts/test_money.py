"""Money is exact, or refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import MalformedAmount, MoneyError, NotPositive, TooLarge, TooPrecise, UnknownCurrency
from contracts.money import DECIMALS, LARGEST_AMOUNT_MINOR, Money, minor_to_text

amounts = st.builds(Money, st.integers(1, LARGEST_AMOUNT_MINOR), st.sampled_from(sorted(DECIMALS)))


@given(amounts)
def test_text_and_back_is_the_same_money(money: Money) -> None:
    text = minor_to_text(money.amount_minor, money.currency)
    assert Money.parse(text, money.currency) == money
    assert Decimal(text) * 10 ** DECIMALS[money.currency] == money.amount_minor
    assert len(text.partition(".")[2]) == DECIMALS[money.currency]


@given(st.text(max_size=30), st.sampled_from(sorted(DECIMALS)))
def test_any_text_is_read_exactly_or_refused(text: str, currency: str) -> None:
    try:
        money = Money.parse(text, currency)
    except MoneyError:
        return
    assert Decimal(text) == Decimal(minor_to_text(money.amount_minor, currency))


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.50", "EUR", 1250),
        ("12.5", "EUR", 1250),
        ("12", "EUR", 1200),
        ("0.01", "EUR", 1),
        ("1250", "JPY", 1250),
        ("1.234", "BHD", 1234),
        ("1.2345", "CLF", 12345),
        ("10000000000000.00", "EUR", 10**15),
    ],
)
def test_amounts_by_currency(text: str, currency: str, minor: int) -> None:
    assert Money.parse(text, currency).amount_minor == minor


@pytest.mark.parametrize(
    ("text", "currency", "error"),
    [
        ("12.505", "EUR", TooPrecise),
        ("12.500", "EUR", TooPrecise),
        ("1.5", "JPY", TooPrecise),
        ("0", "EUR", NotPositive),
        ("0.00", "EUR", NotPositive),
        ("-1", "EUR", NotPositive),
        ("-0", "EUR", NotPositive),
        ("10000000000000.01", "EUR", TooLarge),
        ("9" * 5_000, "EUR", TooLarge),
        ("1e3", "EUR", MalformedAmount),
        ("NaN", "EUR", MalformedAmount),
        ("Infinity", "EUR", MalformedAmount),
        ("+1", "EUR", MalformedAmount),
        ("1.", "EUR", MalformedAmount),
        (".5", "EUR", MalformedAmount),
        ("01", "EUR", MalformedAmount),
        ("1,50", "EUR", MalformedAmount),
        (" 1", "EUR", MalformedAmount),
        ("1\n", "EUR", MalformedAmount),
        ("١٢", "EUR", MalformedAmount),
        ("", "EUR", MalformedAmount),
        ("1", "XXX", UnknownCurrency),
        ("1", "eur", UnknownCurrency),
        ("1", "", UnknownCurrency),
    ],
)
def test_refusals(text: str, currency: str, error: type[MoneyError]) -> None:
    with pytest.raises(error):
        Money.parse(text, currency)


def test_the_refusal_says_how_many_decimals_there_are() -> None:
    with pytest.raises(TooPrecise, match=r"^EUR has 2 decimals; the amount cannot have 3\.$"):
        Money.parse("12.505", "EUR")


def test_decimals_of_the_unusual_currencies() -> None:
    by_decimals = {
        digits: {code for code in DECIMALS if DECIMALS[code] == digits} for digits in DECIMALS.values()
    }
    assert by_decimals[0] >= {"JPY", "KRW", "CLP", "ISK", "VND", "XAF", "XOF", "XPF"}
    assert by_decimals[3] == {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    assert by_decimals[4] == {"CLF", "UYW"}
    assert not {"XAU", "XXX", "XTS", "XDR"} & set(DECIMALS)


def test_negative_sums_are_written_too() -> None:
    assert (minor_to_text(-5, "EUR"), minor_to_text(-5, "JPY")) == ("-0.05", "-5")
