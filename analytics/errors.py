"""What can be wrong with a question about volumes. The first line of a class is its message."""


class AnalyticsError(Exception):
    """The base of this service's errors. `field` names the parameter that is wrong."""

    field = ""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class UnknownZone(AnalyticsError):
    """Not a time zone of the IANA database, like Europe/Berlin or UTC."""

    field = "tz"


class NotAMoment(AnalyticsError):
    """Not a time of ISO 8601, like 2026-01-02, 2026-01-02T03:04:05Z or 2026-01-02T03:04:05+01:00."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{(self.__doc__ or '')[:-1]} (in an address, + must be written %2B).")
        self.field = field


class UpsideDown(AnalyticsError):
    """The range must begin before it ends."""

    field = "to"


class TooManySlots(AnalyticsError):
    """The range has more slots than may be asked for at once."""

    field = "from"


class TooManyRows(AnalyticsError):
    """More rows were found than one answer may have."""

    field = "from"
