"""How far a rebuild has come."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the generation being built has come, in records of all partitions."""

    generation: int
    read: int
    records: int

    @property
    def percent(self) -> int:
        """100 only when nothing is left."""
        return 100 if self.read >= self.records else 100 * self.read // self.records
