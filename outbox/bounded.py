"""Counts that stop counting at a limit: what is shown costs the same, whatever there is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounded:
    """A count that stopped counting at a limit: `more` says that there are more than `count`."""

    count: int
    more: bool = False

    @classmethod
    def upto(cls, limit: int, counted: int) -> "Bounded":
        """From a query that was cut at `limit + 1` rows."""
        return cls(min(counted, limit), counted > limit)

    @property
    def least(self) -> str:
        """As it is said in a sentence: 1, or at least 100."""
        return f"{'at least ' if self.more else ''}{self.count:,}"

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.more else ''}"


def many(count: int, what: str) -> str:
    """So many of what takes an s: 1 key, 2,000 keys."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
