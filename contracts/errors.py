"""What can be wrong with money. The first line of a class says what; messages name the values."""

from outbox.errors import NonRecoverable


class MoneyError(NonRecoverable, ValueError):
    """The base of all that is wrong with an amount or a currency."""


class UnknownCurrency(MoneyError):
    """Not an active currency code of ISO 4217."""


class MalformedAmount(MoneyError):
    """An amount is written with digits and one decimal point, like 12.50."""


class TooPrecise(MoneyError):
    """The amount has more decimals than its currency."""


class NotPositive(MoneyError):
    """The amount must be greater than zero."""


class TooLarge(MoneyError):
    """The amount is larger than a payment can be."""
