"""Whether a consumer is late, and whether it keeps up: one rule each, for alarms, metrics and every page."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lateness:
    """How long the oldest event that a consumer has yet to process has waited, in seconds.

    in_kafka  of those that Kafka has; 0 without one, None while it is not known
    unsent    of those that no relay has sent yet; 0 without one, None while it is not known
    limit     how long it may, as the consumer declares
    """

    in_kafka: float | None
    unsent: float | None
    limit: float

    @property
    def seconds(self) -> float | None:
        """Sent to Kafka or not; None while it is not known, as `oldest_age` says."""
        return oldest_age([self.in_kafka, self.unsent], limit=self.limit)

    @property
    def late(self) -> bool | None:
        """Whether it is longer than it may be. None while that is not known: neither late nor well."""
        return None if self.seconds is None else self.seconds > self.limit

    def keeps_up(self, *, events: int, out: float) -> bool:
        """Whether none of the `events` that Kafka has is late, and they are moved past within the limit at
        `out` a second: such a few are always on their way, and when none will be left is noise.
        """
        return events <= out * self.limit and not (self.in_kafka or 0.0) > self.limit

    @property
    def is_for_relay(self) -> bool:
        """Whether it is late by what no relay has sent, and by nothing else that is known."""
        return self.late is True and (self.in_kafka is None or self.in_kafka <= self.limit)


def oldest_age(ages: Collection[float | None], *, limit: float) -> float | None:
    """The longest of these, in seconds. Where one is not known it might be that one: None, unless the others
    are beyond the limit by themselves.
    """
    known = [age for age in ages if age is not None]
    longest = max(known, default=0.0)
    return longest if len(known) == len(ages) or longest > limit else None
