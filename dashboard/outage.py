"""Since when Kafka does not answer, as who asked first in this process found: all pages say the same."""

from datetime import datetime, timedelta

# Who asks does so every few seconds: one that nobody has met with for so long is over.
FORGOTTEN = timedelta(seconds=15)


class Outage:
    """A time without answers, met with by several who ask on their own."""

    def __init__(self) -> None:
        self._met: tuple[datetime, datetime] | None = None

    def met(self, asked: datetime) -> datetime:
        """Nobody answered who was asked at that moment. Returns since when that has been so."""
        since, last = self._met or (asked, asked)
        if asked - last > FORGOTTEN:
            since = asked
        self._met = since, max(last, asked)
        return since

    def over(self) -> None:
        """There was an answer."""
        self._met = None


kafka_outage = Outage()
