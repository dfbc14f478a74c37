"""Exact money: a whole number of a currency's minor unit. Nothing here ever rounds."""

import re
from dataclasses import dataclass
from typing import Final

from contracts.errors import MalformedAmount, NotPositive, TooLarge, TooPrecise, UnknownCurrency

# Far below bigint, so that sums of millions of amounts still fit it.
LARGEST_AMOUNT_MINOR: Final = 10**15

# ISO 4217, active codes by the digits of their minor unit. Codes without one (gold, testing) buy nothing.
_CODES_BY_DECIMALS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
        "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
        "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK "
        "MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD "
        "RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH "
        "USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DECIMALS: Final = {code: decimals for decimals, codes in _CODES_BY_DECIMALS.items() for code in codes.split()}

CODES: Final = sorted(DECIMALS)

_AMOUNT = re.compile(r"(?P<sign>-?)(?P<whole>0|[1-9][0-9]*)(?:\.(?P<fraction>[0-9]+))?")


def decimals_of(currency: str) -> int:
    """The digits of the currency's minor unit. Raises UnknownCurrency."""
    try:
        return DECIMALS[currency]
    except KeyError:
        raise UnknownCurrency(
            f"{currency!r} is not an active ISO 4217 currency code, like EUR or JPY."
        ) from None


@dataclass(frozen=True, slots=True)
class Money:
    """A positive amount: `amount_minor` of the currency's minor unit, up to LARGEST_AMOUNT_MINOR."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        decimals_of(self.currency)
        if self.amount_minor <= 0:
            raise NotPositive()
        if self.amount_minor > LARGEST_AMOUNT_MINOR:
            raise TooLarge(
                f"The amount must be at most {minor_to_text(LARGEST_AMOUNT_MINOR, self.currency)}."
            )

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Read "12.50". Raises the MoneyError that says what is wrong; fewer decimals than usual are fine."""
        decimals = decimals_of(currency)
        match = _AMOUNT.fullmatch(text)
        if match is None:
            raise MalformedAmount()
        if match["sign"]:
            raise NotPositive()
        fraction = match["fraction"] or ""
        if len(fraction) > decimals:
            raise TooPrecise(f"{currency} has {decimals} decimals; the amount cannot have {len(fraction)}.")
        digits = match["whole"] + fraction.ljust(decimals, "0")
        # Longer numbers are refused before Python's own limit on digits can be.
        return cls(int(digits) if len(digits) <= 20 else LARGEST_AMOUNT_MINOR + 1, currency)

    def __str__(self) -> str:
        return f"{minor_to_text(self.amount_minor, self.currency)} {self.currency}"


def minor_to_text(amount_minor: int, currency: str) -> str:
    """Write an amount with exactly its currency's decimals: 1250 EUR is "12.50", 1250 JPY is "1250"."""
    decimals = decimals_of(currency)
    sign, digits = "-" * (amount_minor < 0), str(abs(amount_minor)).rjust(decimals + 1, "0")
    if decimals == 0:
        return sign + digits
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
