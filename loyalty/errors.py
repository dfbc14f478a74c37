"""What can go wrong with points. The first line of a class is its message."""

from outbox import NonRecoverable


class LoyaltyError(Exception):
    """The base of this service's errors."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class AccountNotFound(LoyaltyError):
    """There is no loyalty account of this customer."""


class PointsAlreadyEarned(LoyaltyError, NonRecoverable):
    """The payment has earned its points already: a second PaymentValidated for it cannot be right."""
